package reaper

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Check reports what is wrong with a schedule (see [Options.Schedule]).
func Check(schedule string) error {
	_, err := parse(schedule)
	return err
}

// parse is cron's parser behind a fence: it panics on a time zone without
// expression ("TZ=0"), turns intervals below a second (and negative ones) into
// one second, and accepts days that never come.
func parse(spec string) (schedule cron.Schedule, err error) {
	defer func() {
		if p := recover(); p != nil {
			schedule, err = nil, errors.New("not a cron expression")
		}
	}()
	rest := spec
	if strings.HasPrefix(spec, "TZ=") || strings.HasPrefix(spec, "CRON_TZ=") {
		var found bool
		if _, rest, found = strings.Cut(spec, " "); !found {
			return nil, errors.New("a time zone without an expression behind it")
		}
	}
	if every, ok := strings.CutPrefix(strings.TrimSpace(rest), "@every "); ok {
		d, err := time.ParseDuration(strings.TrimSpace(every))
		if err != nil {
			return nil, fmt.Errorf("@every needs a duration like 10s or 6h: %w", err)
		}
		if d < time.Second {
			return nil, errors.New("@every needs at least 1s")
		}
	}
	parser := cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)
	schedule, err = parser.Parse(spec)
	if err != nil {
		return nil, err
	}
	if schedule.Next(time.Now()).IsZero() {
		return nil, errors.New("a time that never comes")
	}
	return schedule, nil
}

// cronLog passes cron's own messages on: every wake-up at debug, panics as errors.
type cronLog struct{ log *slog.Logger }

func (l cronLog) Info(msg string, kv ...any) { l.log.Debug("schedule: "+msg, kv...) }

func (l cronLog) Error(err error, msg string, kv ...any) {
	l.log.Error("schedule: "+msg, append([]any{"err", err}, kv...)...)
}
