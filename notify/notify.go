// Package notify delivers what waits in the engine's outbox: webhooks, signed
// as Standard Webhooks has it, and mail by SMTP. The outbox is kept in the records and written in
// the same Update as the event, so that nothing that happened is forgotten, by
// restarts neither; several nodes may deliver from one.
package notify

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"fileshare/store"
)

// Outbox is what the engine offers; see the methods of [store.Store].
type Outbox interface {
	Claim(ctx context.Context, limit int, lease time.Duration) ([]*store.Message, error)
	Begin(ctx context.Context, id string) error
	Retry(ctx context.Context, at time.Time, ids ...string) error
	Return(ctx context.Context, at time.Time, ids ...string) error
	Done(ctx context.Context, id string) error
}

// channel delivers the messages of one kind.
type channel interface {
	// deliver tries once, within ctx. after is how long to wait at least
	// before another attempt, if the recipient said.
	deliver(ctx context.Context, m *store.Message) (after time.Duration, err error)
	// place is who has to be up for that: what is counted of and put off for
	// a recipient is of its place.
	place(to store.Recipient) store.Recipient
	// timeout bounds one attempt.
	timeout() time.Duration
}

// errGiveUp marks errors after which another attempt makes no sense.
var errGiveUp = errors.New("given up")

// Options configures [New]. The zero value delivers nothing.
type Options struct {
	Webhooks []Webhook
	// Payload makes what a webhook gets of an event: a JSON object with type,
	// timestamp and data.
	Payload func(*store.Event) ([]byte, error)
	// AllowPrivate allows webhooks to addresses of private networks and of
	// this machine.
	AllowPrivate bool
	// Mail is how mail goes out; without a server none does.
	Mail Mail
	// Timeout bounds one attempt of a webhook; default 15 s.
	Timeout time.Duration
	// Retry is how long to wait before the second attempt; default 2 s. Each
	// further wait is thrice as long, at most 4 h.
	Retry time.Duration
	// GiveUp is how long after its event a message is still tried; default
	// 3 days.
	GiveUp time.Duration
	// Poll is how often the outbox is looked at; default 1 s.
	Poll time.Duration
	// Observe is told of every attempt, for metrics: of which channel, and
	// what became of it ("delivered", "failed", "given_up").
	Observe func(channel, outcome string)
	Log     *slog.Logger // default: discards
}

// How many messages are taken out of the outbox at once, and how many are on
// their way to one place; as many as were taken at once may wait for a turn there.
const (
	claimed  = 64
	perPlace = 4
)

// Notifier owns the goroutines of the delivery from Start to Stop.
type Notifier struct {
	o        Options
	outbox   Outbox
	channels map[string]channel
	cancel   context.CancelFunc
	ctx      context.Context
	work     sync.WaitGroup

	mu     sync.Mutex
	queues map[store.Recipient]*queue  // by place; guarded by mu
	slow   map[store.Recipient]failure // by place; guarded by mu
}

// queue is what one place is told.
type queue struct {
	busy    int      // messages on their way
	waiting []*claim // for a turn, first come first served
}

// claim is a message that was claimed, and the last moment at which an attempt
// may begin: after that another daemon may be given it before it is over.
type claim struct {
	*store.Message
	last time.Time
}

// failure is a place that does not answer, as far as this process has seen.
type failure struct {
	n     int       // attempts in a row
	until time.Time // nothing is tried before
}

// New checks the options; nothing runs before Start.
func New(outbox Outbox, o Options) (*Notifier, error) {
	if o.Timeout <= 0 {
		o.Timeout = 15 * time.Second
	}
	if o.Retry <= 0 {
		o.Retry = 2 * time.Second
	}
	if o.GiveUp <= 0 {
		o.GiveUp = 72 * time.Hour
	}
	if o.Poll <= 0 {
		o.Poll = time.Second
	}
	if o.Observe == nil {
		o.Observe = func(string, string) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	hooks, err := newWebhooks(o)
	if err != nil {
		return nil, err
	}
	channels := map[string]channel{webhookChannel: hooks}
	if o.Mail.Server != "" {
		if o.Mail.Timeout <= 0 {
			o.Mail.Timeout = 30 * time.Second
		}
		m, err := newMailer(o.Mail, outbox)
		if err != nil {
			return nil, err
		}
		channels[MailChannel] = m
	}
	n := &Notifier{o: o, outbox: outbox, channels: channels,
		queues: map[store.Recipient]*queue{}, slow: map[store.Recipient]failure{}}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n, nil
}

// Start begins to deliver in the background. It is called once.
func (n *Notifier) Start() { n.work.Go(n.run) }

// Stop ends the attempts that are under way and waits for them: their messages
// stay in the outbox. It may be called without Start, and more than once.
func (n *Notifier) Stop() {
	n.cancel()
	n.work.Wait()
}

// run looks at the outbox until Stop.
func (n *Notifier) run() {
	tick := time.NewTicker(n.o.Poll)
	defer tick.Stop()
	for {
		for n.round() {
		}
		select {
		case <-n.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// round takes what is due and begins to deliver it. It tells whether there may
// be more to begin with at once.
func (n *Notifier) round() bool {
	// The lease is longer than an attempt with what comes after it can take, also if that had to wait.
	longest := max(n.o.Timeout, n.o.Mail.Timeout)
	now := time.Now()
	messages, err := n.outbox.Claim(n.ctx, claimed, 2*longest+time.Minute)
	if err != nil {
		if n.ctx.Err() == nil {
			n.o.Log.Error("reading the outbox", "error", err)
		}
		return false
	}
	begun := false
	var put []string
	wait := time.Minute
	for _, m := range messages {
		c := n.channels[m.To.Channel]
		if c == nil {
			n.giveUp(m, errors.New("its channel is not configured any more"))
			continue
		}
		place := c.place(m.To)
		turn, w := n.enter(place, &claim{m, now.Add(longest + time.Minute - settling)})
		if w > 0 {
			put, wait = append(put, m.ID), min(w, wait)
			continue
		}
		begun = true
		if turn {
			n.work.Go(func() { n.serve(c, place, m) })
		}
	}
	n.putBack(wait, put)
	return begun && len(messages) == claimed
}

// putBack returns messages that were claimed and not tried, to be due after wait.
func (n *Notifier) putBack(wait time.Duration, ids []string) {
	if len(ids) > 0 {
		n.settle(func(ctx context.Context) error { return n.outbox.Return(ctx, time.Now().Add(wait), ids...) })
	}
}

// serve delivers a message, and then those that wait for a turn at its place.
func (n *Notifier) serve(c channel, place store.Recipient, m *store.Message) {
	for m != nil {
		n.attempt(c, place, m)
		var put []string
		var wait time.Duration
		m, put, wait = n.next(place)
		n.putBack(wait, put)
	}
}

// enter takes one of the turns at a place, or lets a message wait for one, or
// tells how long there is none: one that hangs must not hold up the others, nor be
// asked for each message.
func (n *Notifier) enter(to store.Recipient, m *claim) (turn bool, wait time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if wait := time.Until(n.slow[to].until); wait > 0 {
		return false, wait
	}
	at := n.queues[to]
	if at == nil {
		at = &queue{}
		n.queues[to] = at
	}
	switch {
	case n.slow[to].n > 0 && at.busy > 0: // one is a probe
		return false, n.o.Poll
	case at.busy < perPlace:
		at.busy++
		return true, 0
	case len(at.waiting) < claimed:
		at.waiting = append(at.waiting, m)
		return false, 0
	}
	return false, n.o.Poll
}

// next hands the turn of a message at a place to the one that waits longest; nil:
// to none. put are those that are not tried now, but may be after wait.
func (n *Notifier) next(to store.Recipient) (m *store.Message, put []string, wait time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	at := n.queues[to]
	wait = max(time.Until(n.slow[to].until), 0)
	halt := n.slow[to].n > 0 || n.ctx.Err() != nil
	for len(at.waiting) > 0 {
		first := at.waiting[0]
		at.waiting = at.waiting[1:]
		if !halt && time.Now().Before(first.last) {
			return first.Message, put, wait
		}
		put = append(put, first.ID)
	}
	if at.busy--; at.busy == 0 {
		delete(n.queues, to)
	}
	return nil, put, wait
}

// attempt tries to deliver a message and says in the outbox what became of it.
func (n *Notifier) attempt(c channel, place store.Recipient, m *store.Message) {
	ctx, cancel := context.WithTimeout(n.ctx, c.timeout())
	defer cancel()
	after, err := c.deliver(ctx, m)
	_, refused := errors.AsType[refusedError](err)
	if err == nil || refused { // somebody is there
		n.recover(place)
	}
	switch {
	case err == nil:
		n.o.Observe(m.To.Channel, "delivered")
		n.logOf(m).Debug("delivered")
		n.done(m)
	case errors.Is(err, errGiveUp):
		n.giveUp(m, err)
	case n.ctx.Err() != nil: // we are stopping; whoever comes next tries again
		n.later(0, m.ID)
	case time.Since(m.Queued) > n.o.GiveUp:
		n.giveUp(m, err)
	default:
		n.o.Observe(m.To.Channel, "failed")
		wait := max(n.backoff(m.Attempts), min(after, time.Hour))
		n.logOf(m).Info("an event could not be delivered, will try again", "in", wait.Round(time.Second), "error", err)
		if !refused {
			n.fail(place, after)
		}
		n.later(wait, m.ID)
	}
}

// giveUp takes a message out of the outbox that will not be delivered.
func (n *Notifier) giveUp(m *store.Message, err error) {
	n.o.Observe(m.To.Channel, "given_up")
	n.logOf(m).Warn("an event is not delivered", "error", err)
	n.done(m)
}

func (n *Notifier) logOf(m *store.Message) *slog.Logger {
	log := n.o.Log.With("channel", m.To.Channel, "to", m.To.Name, "event", m.Event.ID, "type", string(m.Event.Type), "attempt", m.Attempts)
	if m.Letter != nil {
		log = log.With("kind", m.Letter.Kind)
	}
	return log
}

// fail notes that a place did not answer well.
func (n *Notifier) fail(to store.Recipient, after time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := n.slow[to]
	f.n++
	pause := min(n.o.Retry<<min(f.n-1, 5), time.Minute)
	f.until = time.Now().Add(max(pause, min(after, time.Hour)))
	n.slow[to] = f
}

func (n *Notifier) recover(to store.Recipient) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.slow, to)
}

// settling bounds what is written to the outbox after an attempt, also while we
// are stopping.
const settling = 10 * time.Second

// settle writes to the outbox what became of messages.
func (n *Notifier) settle(write func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(n.ctx), settling)
	defer cancel()
	if err := write(ctx); err != nil {
		n.o.Log.Error("writing the outbox", "error", err)
	}
}

func (n *Notifier) done(m *store.Message) {
	n.settle(func(ctx context.Context) error { return n.outbox.Done(ctx, m.ID) })
}

func (n *Notifier) later(wait time.Duration, id string) {
	n.settle(func(ctx context.Context) error { return n.outbox.Retry(ctx, time.Now().Add(wait), id) })
}

// backoff is how long to wait after so many attempts, with a fifth of chance in
// it.
func (n *Notifier) backoff(attempts int) time.Duration {
	wait := n.o.Retry
	for range min(attempts-1, 20) {
		wait = min(3*wait, 4*time.Hour)
	}
	return wait + rand.N(wait/5+1)
}
