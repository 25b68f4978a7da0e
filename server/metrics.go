package server

import (
	"context"
	"net/http"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"fileshare/store"
)

// metrics of the HTTP face. Labels are bounded: route templates, known
// methods, status numbers.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge
	bytesIn  prometheus.Counter
	bytesOut prometheus.Counter
	lost     *routeMetrics // requests without a route
	handler  http.Handler  // of /metrics
}

func newMetrics(s *store.Store, o Options) *metrics {
	reg, gather := o.Registerer, o.Gatherer
	if reg == nil {
		own := prometheus.NewRegistry()
		reg = own
		if gather == nil {
			gather = own
		}
	}
	if gather == nil {
		gather, _ = reg.(prometheus.Gatherer)
	}
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fileshare_http_requests_total", Help: "Requests by route template, method and status; status 0: the connection broke before an answer."}, []string{"route", "method", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "fileshare_http_request_duration_seconds", Help: "Time from the header of the request to the end of the answer.", Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60, 600}}, []string{"route"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "fileshare_http_requests_in_flight", Help: "Requests being served."}),
		bytesIn:  prometheus.NewCounter(prometheus.CounterOpts{Name: "fileshare_bytes_in_total", Help: "Bytes of request bodies."}),
		bytesOut: prometheus.NewCounter(prometheus.CounterOpts{Name: "fileshare_bytes_out_total", Help: "Bytes of answers' bodies."}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "fileshare_build_info", Help: "1; the labels tell the build.", ConstLabels: prometheus.Labels{"version": o.Version, "go": runtime.Version()}})
	build.Set(1)
	reg.MustRegister(m.requests, m.duration, m.inFlight, m.bytesIn, m.bytesOut, build, newEngineCollector(s))
	m.lost = m.route("none")
	m.handler = http.NotFoundHandler()
	if gather != nil {
		m.handler = promhttp.HandlerFor(gather, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second, ErrorHandling: promhttp.ContinueOnError})
	}
	return m
}

// routeMetrics holds the children of one route, so that a request hashes no
// labels. They are made when they are first needed: the APIs have many routes,
// and of most nobody ever calls the half.
type routeMetrics struct {
	m        *metrics
	name     string
	duration atomic.Pointer[prometheus.Observer]
	requests [len(methodNames)][64]atomic.Pointer[prometheus.Counter]
}

func (m *metrics) route(name string) *routeMetrics {
	return &routeMetrics{m: m, name: name}
}

const (
	mGet = iota
	mHead
	mPost
	mPut
	mPatch
	mDelete
	mOptions
	mOther
)

// methodNames is an array so that its length is a constant.
var methodNames = [...]string{mGet: "GET", mHead: "HEAD", mPost: "POST", mPut: "PUT", mPatch: "PATCH", mDelete: "DELETE", mOptions: "OPTIONS", mOther: "other"}

func methodIndex(method string) int {
	for i, n := range methodNames[:mOther] {
		if n == method {
			return i
		}
	}
	return mOther
}

// slot maps the statuses in use to 1…63; 0 is every other.
func slot(status int) int {
	switch {
	case status >= 200 && status < 210:
		return 1 + status - 200
	case status >= 300 && status < 309:
		return 11 + status - 300
	case status >= 400 && status < 432:
		return 20 + status - 400
	case status >= 500 && status < 508:
		return 52 + status - 500
	}
	return 0
}

func (m *metrics) observe(x *exchange, method string) {
	rm := m.lost
	if x.route != nil {
		rm = x.route.metrics
	}
	status := x.status
	mi, si := methodIndex(method), slot(status)
	c := rm.requests[mi][si].Load()
	if c == nil || si == 0 {
		c = new(m.requests.WithLabelValues(rm.name, methodNames[mi], strconv.Itoa(status)))
		rm.requests[mi][si].Store(c)
	}
	(*c).Inc()
	d := rm.duration.Load()
	if d == nil {
		d = new(m.duration.WithLabelValues(rm.name))
		rm.duration.Store(d)
	}
	(*d).Observe(time.Since(x.start).Seconds())
	if x.body != nil && x.body.n > 0 {
		m.bytesIn.Add(float64(x.body.n))
	}
	if x.bytes > 0 {
		m.bytesOut.Add(float64(x.bytes))
	}
}

// engineCollector asks the engine when Prometheus asks us.
type engineCollector struct {
	store                                       *store.Store
	files, stored                               *prometheus.Desc
	reserved, completed, lapsed, busy, reopened *prometheus.Desc
	received, sent                              *prometheus.Desc
	sweepAge, sweepDue                          *prometheus.Desc
}

// The longest that a scrape waits for what is in the records.
const usageTimeout = 2 * time.Second

func newEngineCollector(s *store.Store) *engineCollector {
	d := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }
	return &engineCollector{
		store:     s,
		files:     d("fileshare_files", "Files with content."),
		stored:    d("fileshare_stored_bytes", "Bytes of the contents stored."),
		reserved:  d("fileshare_reservations_total", "Reservations of counted downloads."),
		completed: d("fileshare_downloads_completed_total", "Uses of counted links that are complete."),
		lapsed:    d("fileshare_reservations_lapsed_total", "Uses that nobody went on with."),
		busy:      d("fileshare_reservations_busy_total", "Requests refused because all uses were being downloaded."),
		reopened:  d("fileshare_downloads_reopened_total", "Counted downloads whose connection broke after the last byte."),
		received:  d("fileshare_content_in_bytes_total", "Bytes of contents received."),
		sent:      d("fileshare_content_out_bytes_total", "Bytes of contents sent."),
		sweepAge:  d("fileshare_sweep_age_seconds", "How long ago the sweep of the shard that waits longest for its next one began."),
		sweepDue:  d("fileshare_sweep_shards_due", "Shards of the contents, of 256, that are to be swept now or are being swept."),
	}
}

func (c *engineCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.files, c.stored, c.reserved, c.completed, c.lapsed, c.busy, c.reopened, c.received, c.sent, c.sweepAge, c.sweepDue} {
		ch <- d
	}
}

func (c *engineCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), usageTimeout)
	defer cancel()
	if files, bytes, err := c.store.Usage(ctx); err != nil {
		ch <- prometheus.NewInvalidMetric(c.files, err)
	} else {
		ch <- prometheus.MustNewConstMetric(c.files, prometheus.GaugeValue, float64(files))
		ch <- prometheus.MustNewConstMetric(c.stored, prometheus.GaugeValue, float64(bytes))
	}
	if st, err := c.store.SweepState(ctx); err != nil {
		ch <- prometheus.NewInvalidMetric(c.sweepDue, err)
	} else {
		ch <- prometheus.MustNewConstMetric(c.sweepDue, prometheus.GaugeValue, float64(st.Due))
		if !st.Oldest.IsZero() {
			ch <- prometheus.MustNewConstMetric(c.sweepAge, prometheus.GaugeValue, time.Since(st.Oldest).Seconds())
		}
	}
	st := c.store.Stats()
	for _, v := range []struct {
		d *prometheus.Desc
		n int64
	}{{c.reserved, st.Reserved}, {c.completed, st.Completed}, {c.lapsed, st.Lapsed}, {c.busy, st.Busy}, {c.reopened, st.Reopened}, {c.received, st.BytesIn}, {c.sent, st.BytesOut}} {
		ch <- prometheus.MustNewConstMetric(v.d, prometheus.CounterValue, float64(v.n))
	}
}

// ReaperMetrics is fed by whoever runs the reaper.
type ReaperMetrics struct {
	lag      prometheus.Gauge
	duration prometheus.Histogram
	runs     *prometheus.CounterVec
	purged   *prometheus.CounterVec
	bytes    prometheus.Counter

	sweeps                  *prometheus.CounterVec
	shards, swept, orphaned prometheus.Counter
}

// NewReaperMetrics registers the metrics of the reaper.
func NewReaperMetrics(reg prometheus.Registerer) *ReaperMetrics {
	m := &ReaperMetrics{
		lag:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "fileshare_expiry_lag_seconds", Help: "How long the oldest file that the last run purged had been due."}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "fileshare_purge_duration_seconds", Help: "Duration of runs of the reaper.", Buckets: []float64{.001, .01, .1, 1, 10, 60, 600}}),
		runs:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fileshare_purge_runs_total", Help: "Runs of the reaper by result."}, []string{"result"}),
		purged:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fileshare_purged_total", Help: "What the reaper removed."}, []string{"kind"}),
		sweeps:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fileshare_sweep_runs_total", Help: "Sweeps, of all contents or of a shard, by result."}, []string{"result"}),
		shards:   prometheus.NewCounter(prometheus.CounterOpts{Name: "fileshare_sweep_shards_total", Help: "Shards of the contents that were swept; all together are 256."}),
		swept:    prometheus.NewCounter(prometheus.CounterOpts{Name: "fileshare_swept_contents_total", Help: "Contents that sweeps looked at."}),
		orphaned: prometheus.NewCounter(prometheus.CounterOpts{Name: "fileshare_orphans_removed_total", Help: "Contents without a record that sweeps removed."}),
		bytes:    prometheus.NewCounter(prometheus.CounterOpts{Name: "fileshare_purged_bytes_total", Help: "Bytes the reaper reclaimed."}),
	}
	for _, result := range []string{"ok", "error"} { // there from the start, so that an alert can rely on them
		m.runs.WithLabelValues(result)
		m.sweeps.WithLabelValues(result)
	}
	for _, kind := range []string{"file", "session", "tombstone", "blob"} {
		m.purged.WithLabelValues(kind)
	}
	reg.MustRegister(m.lag, m.duration, m.runs, m.purged, m.bytes, m.sweeps, m.shards, m.swept, m.orphaned)
	return m
}

// Observe records one run and its error, if it had one.
func (m *ReaperMetrics) Observe(res store.PurgeResult, took time.Duration, err error) {
	m.lag.Set(res.Lag.Seconds())
	m.duration.Observe(took.Seconds())
	m.runs.WithLabelValues(resultOf(err)).Inc()
	m.purged.WithLabelValues("file").Add(float64(res.Files))
	m.purged.WithLabelValues("session").Add(float64(res.Sessions))
	m.purged.WithLabelValues("tombstone").Add(float64(res.Tombstones))
	m.purged.WithLabelValues("blob").Add(float64(res.Blobs))
	m.bytes.Add(float64(res.Bytes))
}

// ObserveSweep records one sweep and its error, if it had one.
func (m *ReaperMetrics) ObserveSweep(res store.SweepResult, err error) {
	m.sweeps.WithLabelValues(resultOf(err)).Inc()
	m.shards.Add(float64(res.Shards))
	m.swept.Add(float64(res.Seen))
	m.orphaned.Add(float64(res.Removed))
}

func resultOf(err error) string {
	if err != nil {
		return "error"
	}
	return "ok"
}
