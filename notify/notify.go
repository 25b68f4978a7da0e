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
	Renew(ctx context.Context, lease time.Duration, messages ...*store.Message) error
	Begin(ctx context.Context, m *store.Message) error
	Retry(ctx context.Context, at time.Time, messages ...*store.Message) error
	Return(ctx context.Context, at time.Time, messages ...*store.Message) error
	Done(ctx context.Context, m *store.Message) error
}

// channel delivers the messages of one kind.
type channel interface {
	// deliver tries once, and bounds how long that takes; ctx ends when the daemon
	// does. after is how long to wait at least before another attempt, if the
	// recipient said.
	deliver(ctx context.Context, m *store.Message) (after time.Duration, err error)
	// place is who has to be up for that: what is counted of and put off for
	// a recipient is of its place.
	place(to store.Recipient) store.Recipient
}

// What is known of an attempt that failed.
var (
	errGiveUp  = errors.New("given up")       // another one makes no sense
	errInDoubt = errors.New("not sent again") // it may have succeeded; the place is not well
)

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

	// lease is how long messages are ours of which we have said nothing: so long
	// they wait if we die. What we have for longer is renewed in time. Default 15 s.
	lease time.Duration
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
	places map[store.Recipient]*place // guarded by mu, with what is in them
	held   map[*claim]bool            // guarded by mu, with what is in them
}

// place is who has to be up so that messages can be delivered, as far as this
// process has seen.
type place struct {
	busy    int       // messages on their way
	waiting []*claim  // for a turn, first come first served
	failed  int       // attempts that failed in a row
	until   time.Time // nothing is tried before
	back    time.Time // when the last of those is due that were put back
}

// claim is a message that was claimed.
type claim struct {
	*store.Message
	until time.Time // after that another daemon may be given it
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
	if o.lease <= 0 {
		o.lease = 15 * time.Second
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
		places: map[store.Recipient]*place{}, held: map[*claim]bool{}}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n, nil
}

// Start begins to deliver in the background. It is called once.
func (n *Notifier) Start() {
	n.work.Go(n.run)
	n.work.Go(n.keep)
}

// Stop ends the attempts that are under way and waits for them: their messages
// stay in the outbox. It may be called without Start, and more than once.
func (n *Notifier) Stop() {
	n.cancel()
	n.work.Wait()
}

// run looks at the outbox until Stop.
func (n *Notifier) run() {
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-time.After(n.round()):
		}
	}
}

// round takes what is due and begins to deliver it. It tells how long to wait for
// the next one: not at all while there may be more.
func (n *Notifier) round() (wait time.Duration) {
	until := time.Now().Add(n.o.lease)
	messages, err := n.outbox.Claim(n.ctx, claimed, n.o.lease)
	if err != nil {
		if n.ctx.Err() == nil {
			n.o.Log.Error("reading the outbox", "error", err)
		}
		return n.o.Poll
	}
	next := n.o.Poll
	back := map[time.Duration][]*store.Message{}
	for _, m := range messages {
		c := n.channels[m.To.Channel]
		if c == nil {
			n.giveUp(m, errors.New("its channel is not configured any more"))
			continue
		}
		turn, wait := n.enter(c.place(m.To), &claim{m, until})
		switch {
		case turn != nil:
			n.work.Go(func() { n.serve(c, turn) })
		case wait > 0 && time.Since(m.Queued) > n.o.GiveUp && n.lost(c.place(m.To)):
			n.giveUp(m, errors.New("nobody has answered there for long"))
		case wait > 0:
			wait = wait.Truncate(grain) + grain
			back[wait], next = append(back[wait], m), min(next, wait)
		}
	}
	for wait, messages := range back {
		n.putBack(wait, messages)
	}
	if len(messages) == claimed {
		return 0
	}
	return next
}

// putBack returns messages that were claimed and not tried, to be due after wait.
func (n *Notifier) putBack(wait time.Duration, messages []*store.Message) {
	if len(messages) > 0 {
		n.settle(func(ctx context.Context) error { return n.outbox.Return(ctx, time.Now().Add(wait), messages...) })
	}
}

// keep renews until Stop what we have for long: it waits for its turn, or its
// place is slow.
func (n *Notifier) keep() {
	tick := time.NewTicker(n.o.lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case now := <-tick.C:
			n.renew(now.Add(n.o.lease))
		}
	}
}

func (n *Notifier) renew(until time.Time) {
	var claims []*claim
	var messages []*store.Message
	n.mu.Lock()
	for c := range n.held {
		claims, messages = append(claims, c), append(messages, c.Message)
	}
	n.mu.Unlock()
	if len(messages) == 0 {
		return
	}
	n.settle(func(ctx context.Context) error {
		err := n.outbox.Renew(ctx, n.o.lease, messages...)
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, c := range claims {
			if err == nil {
				c.until = until
			}
		}
		return err
	})
}

// serve delivers a message, and then those that wait for a turn at its place.
func (n *Notifier) serve(c channel, m *claim) {
	at := c.place(m.To)
	for m != nil {
		n.attempt(c, at, m.Message)
		var put []*store.Message
		var wait time.Duration
		m, put, wait = n.next(at, m)
		n.putBack(wait, put)
	}
}

// at is what is known of a place. It is called with mu held.
func (n *Notifier) at(to store.Recipient) *place {
	p := n.places[to]
	if p == nil {
		p = &place{}
		n.places[to] = p
	}
	return p
}

// enter takes one of the turns at a place, or lets a message wait for one, or
// tells how long there is none: one that hangs must not hold up the others, nor be
// asked for each message.
func (n *Notifier) enter(to store.Recipient, m *claim) (turn *claim, wait time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.at(to)
	pause := time.Until(p.until)
	switch {
	case pause > 0:
		return nil, p.behind(pause, n.o.Poll/claimed)
	case p.failed > 0 && p.busy > 0: // one is a probe
		return nil, p.behind(n.o.Poll, n.o.Poll/claimed)
	case p.busy < perPlace:
		p.busy++
		n.held[m] = true
		return m, 0
	case len(p.waiting) < claimed:
		p.waiting = append(p.waiting, m)
		n.held[m] = true
		return nil, 0
	}
	return nil, p.behind(n.o.Poll/16, n.o.Poll/(16*claimed))
}

// lost tells whether a place has failed so often that messages of which the time is
// over are not tried: with one attempt for each they would outlive it by far.
func (n *Notifier) lost(to store.Recipient) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.at(to).failed > perPlace
}

// Bounds of how long messages are put back for: a place that comes back has waited
// no longer for any of them, and those of about one time are written together.
const (
	mostBack = 4 * time.Hour
	grain    = 250 * time.Millisecond
)

// behind is for how long a message is put back: first, and longer the more were
// put back before, a step for each. So a place of which thousands of messages wait
// does not keep us from those of others by having all of them looked at again and again.
func (p *place) behind(first, step time.Duration) time.Duration {
	now := time.Now()
	if p.back = p.back.Add(step); p.back.Before(now.Add(first)) {
		p.back = now.Add(first)
	}
	if most := now.Add(mostBack); p.back.After(most) {
		p.back = most
	}
	return p.back.Sub(now)
}

// next hands the turn of a message at a place to the one that waits longest; nil:
// to none. put are those that are not tried now, but may be after wait.
func (n *Notifier) next(to store.Recipient, done *claim) (m *claim, put []*store.Message, wait time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.held, done)
	p := n.at(to)
	wait = max(time.Until(p.until), 0)
	halt := p.failed > 0 || n.ctx.Err() != nil
	for len(p.waiting) > 0 {
		first := p.waiting[0]
		p.waiting = p.waiting[1:]
		if !halt && time.Now().Before(first.until) {
			return first, put, wait
		}
		delete(n.held, first)
		put = append(put, first.Message)
	}
	p.busy--
	return nil, put, wait
}

// attempt tries to deliver a message and says in the outbox what became of it.
func (n *Notifier) attempt(c channel, place store.Recipient, m *store.Message) {
	after, err := c.deliver(n.ctx, m)
	_, refused := errors.AsType[refusedError](err)
	switch {
	case err == nil, refused: // somebody is there
		n.recover(place)
	case errors.Is(err, errInDoubt), !errors.Is(err, errGiveUp) && n.ctx.Err() == nil:
		n.fail(place, after)
	}
	switch {
	case err == nil:
		n.o.Observe(m.To.Channel, "delivered")
		n.logOf(m).Debug("delivered")
		n.done(m)
	case errors.Is(err, errGiveUp), errors.Is(err, errInDoubt):
		n.giveUp(m, err)
	case n.ctx.Err() != nil: // we are stopping; whoever comes next tries again
		n.later(0, m)
	case time.Since(m.Queued) > n.o.GiveUp:
		n.giveUp(m, err)
	default:
		n.o.Observe(m.To.Channel, "failed")
		wait := max(n.backoff(m.Attempts), min(after, time.Hour))
		n.logOf(m).Info("an event could not be delivered, will try again", "in", wait.Round(time.Second), "error", err)
		n.later(wait, m)
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
	p := n.at(to)
	p.failed++
	pause := min(n.o.Retry<<min(p.failed-1, 5), time.Minute)
	p.until = time.Now().Add(max(pause, min(after, time.Hour)))
}

func (n *Notifier) recover(to store.Recipient) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.at(to)
	p.failed, p.until, p.back = 0, time.Time{}, time.Time{}
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
	n.settle(func(ctx context.Context) error { return n.outbox.Done(ctx, m) })
}

func (n *Notifier) later(wait time.Duration, m *store.Message) {
	n.settle(func(ctx context.Context) error { return n.outbox.Retry(ctx, time.Now().Add(wait), m) })
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
