package cli

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// ttl is a flag: 90, 90s, 30m, 2h, 7d.
type ttl time.Duration

func (t *ttl) String() string {
	if *t == 0 {
		return ""
	}
	return time.Duration(*t).String()
}

func (t *ttl) Type() string { return "TIME" }

func (t *ttl) Set(s string) error {
	bad := errors.New("a time of at least a second is expected: 3600, 30m, 2h, 7d")
	var d time.Duration
	if n, err := strconv.ParseInt(s, 10, 32); err == nil {
		d = time.Duration(n) * time.Second
	} else if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 16)
		if err != nil {
			return bad
		}
		d = time.Duration(n) * 24 * time.Hour
	} else if d, err = time.ParseDuration(s); err != nil {
		return bad
	}
	if d < time.Second {
		return bad
	}
	*t = ttl(d)
	return nil
}

// ttlFlag adds --ttl.
func ttlFlag(cmd *cobra.Command, t *ttl, what string) {
	cmd.Flags().Var(t, "ttl", what+": 3600, 30m, 2h, 7d (default: the server's)")
}
