package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/big"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// testScripts runs testdata/script/*.txtar: fileshare in $PATH, the commands
// below, and those of testscript.
//
//	daemon NAME [KEY=VALUE…] [-- ARG…]   fileshare serve in the background, on a free port; sets $URL, $ADDR, $URL_NAME,
//	                                     $ADDR_NAME; data in NAME.data, log in NAME.log
//	kill9 NAME                           SIGKILL
//	shutdown NAME                        SIGTERM; exit code 0 is expected
//	restart NAME [KEY=VALUE…]            starts it again, on the same port
//	proxy CONFIG NAME                    nginx with deploy/nginx/CONFIG.conf in front of daemon NAME; sets $PROXY
//	cutter NAME BYTES                    a bad line in front of daemon NAME: a connection breaks when so many bytes went over it in one
//	                                     direction; sets $CUTTER
//	cuts N                               expects that it broke at least N times
//	[!] curl ARG…                        the curl of the system; line ends of its output become \n
//	eventually PATTERN PROGRAM ARG…      runs a program (or curl) until its output matches
//	until-size FILE BYTES                waits until a file is so long
//	jsonfield PATH VAR                   sets VAR to a field of the last output: url, items.0.id
//	[!] json PATH VALUE                  expects a field of the last output to be VALUE; len is the length of a list
//	random FILE BYTES                    makes a file of pseudo-random bytes
//	same FILE FILE                       expects equal files
//	certificate CERT KEY                 makes a self-signed certificate for localhost
//	digest FILE VAR                      sets VAR to the SHA-256 of a file in Base64
//	begin-get URL FILE BYTES ID          begins a download with X-Request-Id ID, stores so many bytes and reads no more
//	hang-up                              closes the connection of begin-get, as if the client had been killed
//	valve NAME BYTES                     a proxy to daemon NAME that holds what clients send beyond so many bytes; sets $VALVE
//	until-valve                          waits until so many bytes went through
//	open-valve                           lets all through
//	parallel-get N C URL FILE            N concurrent GETs over C connections; prints how often each status came, and how
//	                                     often all of FILE
//
// They run over every pair of backends that pairs has.
func testScripts(t *testing.T, bin string) {
	for _, p := range pairs(t) {
		t.Run(p.name, func(t *testing.T) { p.run(t, bin) })
	}
}

func (p pair) run(t *testing.T, bin string) {
	testscript.Run(t, testscript.Params{
		Dir:                p.dir(),
		Files:              p.files(),
		RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("GORACE", "halt_on_error=1")
			e.Values[scriptKey{}] = &script{bin: bin, pair: p, daemons: make(map[string]*scriptDaemon)}
			return nil
		},
		Condition: func(condition string) (bool, error) {
			switch condition {
			case "shared": // daemons may share the records
				return p.shared, nil
			case "bucket": // contents are in one
				return p.bucket, nil
			}
			return false, fmt.Errorf("unknown condition %s", condition)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"daemon":       command(1, cmdDaemon),
			"kill9":        command(1, cmdKill9),
			"shutdown":     command(1, cmdShutdown),
			"restart":      command(1, cmdRestart),
			"proxy":        command(2, cmdProxy),
			"cutter":       command(2, cmdCutter),
			"cuts":         command(1, cmdCuts),
			"curl":         cmdCurl,
			"eventually":   command(2, cmdEventually),
			"until-size":   command(2, cmdUntilSize),
			"jsonfield":    command(2, cmdJSONField),
			"json":         cmdJSON,
			"random":       command(2, cmdRandom),
			"same":         command(2, cmdSame),
			"certificate":  command(2, cmdCertificate),
			"digest":       command(2, cmdDigest),
			"begin-get":    command(4, cmdBeginGet),
			"hang-up":      command(0, cmdHangUp),
			"parallel-get": command(4, cmdParallelGet),
			"valve":        command(2, cmdValve),
			"until-valve":  command(0, cmdUntilValve),
			"open-valve":   command(0, cmdOpenValve),
		},
	})
}

type scriptKey struct{}

// script is the state of one script.
type script struct {
	bin     string
	pair    pair
	daemons map[string]*scriptDaemon
	begun   net.Conn // by begin-get
	valve   *valve
	line    *cutter
}

type scriptDaemon struct {
	*process
	env, args  []string
	addr       string
	atEndToo   bool // the end of the script ends it
	isTLS      bool
	wasStopped bool
}

func state(ts *testscript.TestScript) *script { return ts.Value(scriptKey{}).(*script) }

// command makes a command of a function; one that takes at least so many
// arguments and cannot be negated.
func command(least int, do func(*testscript.TestScript, []string) error) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < least {
			ts.Fatalf("usage: see testScripts")
		}
		ts.Check(do(ts, args))
	}
}

func cmdDaemon(ts *testscript.TestScript, args []string) error {
	s, name := state(ts), args[0]
	if s.daemons[name] != nil {
		return fmt.Errorf("daemon %s is there already", name)
	}
	d := &scriptDaemon{env: args[1:]}
	if i := slices.Index(d.env, "--"); i >= 0 {
		d.env, d.args = d.env[:i], d.env[i+1:]
	}
	d.isTLS = slices.ContainsFunc(d.env, func(kv string) bool { return strings.HasPrefix(kv, "FILESHARE_SERVER_TLS_CERT=") })
	s.daemons[name] = d
	backends, err := s.pair.fresh()
	if err != nil {
		return err
	}
	d.env = append(backends, d.env...)
	return startDaemonOf(ts, name, d)
}

func startDaemonOf(ts *testscript.TestScript, name string, d *scriptDaemon) error {
	p, addr, err := startServe(state(ts).bin, ts.MkAbs("."), name, d.env, d.args)
	if err != nil {
		return err
	}
	d.process, d.addr, d.wasStopped = p, addr, false
	if !d.atEndToo {
		d.atEndToo = true
		ts.Defer(func() {
			if !d.wasStopped {
				ts.Check(d.end(syscall.SIGKILL))
			}
		})
	}
	scheme := "http://"
	if d.isTLS {
		scheme = "https://"
	}
	ts.Setenv("ADDR", addr)
	ts.Setenv("URL", scheme+addr)
	ts.Setenv("ADDR_"+name, addr)
	ts.Setenv("URL_"+name, scheme+addr)
	return nil
}

func named(ts *testscript.TestScript, name string) *scriptDaemon {
	d := state(ts).daemons[name]
	if d == nil {
		ts.Fatalf("no daemon %s", name)
	}
	return d
}

func cmdKill9(ts *testscript.TestScript, args []string) error {
	d := named(ts, args[0])
	d.wasStopped = true
	return d.end(syscall.SIGKILL)
}

func cmdShutdown(ts *testscript.TestScript, args []string) error {
	d := named(ts, args[0])
	d.wasStopped = true
	return d.end(syscall.SIGTERM)
}

func cmdRestart(ts *testscript.TestScript, args []string) error {
	d := named(ts, args[0])
	if !d.wasStopped {
		return fmt.Errorf("daemon %s runs", args[0])
	}
	d.env = append(d.env, args[1:]...)
	d.env = append(d.env, "FILESHARE_SERVER_LISTEN="+d.addr)
	var err error
	// Another process may have got the port for a moment.
	rerr := retry(context.Background(), func() (bool, string) {
		if err = startDaemonOf(ts, args[0], d); err == nil {
			return true, ""
		}
		return !strings.Contains(err.Error(), "address already in use"), err.Error()
	})
	if rerr != nil {
		return rerr
	}
	return err
}

func cmdProxy(ts *testscript.TestScript, args []string) error {
	server, err := os.ReadFile(filepath.Join("deploy", "nginx", args[0]+".conf"))
	if err != nil {
		return err
	}
	dir := ts.MkAbs("nginx-" + args[0])
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	p, addr, err := startNginx(dir, string(server), named(ts, args[1]).addr)
	if err != nil {
		return err
	}
	ts.Defer(func() { ts.Check(p.end(syscall.SIGTERM)) })
	ts.Setenv("PROXY", "http://"+addr)
	return nil
}

// runCurl gives every curl of a script a quiet tongue and an end.
func runCurl(ts *testscript.TestScript, args []string) (stdout, stderr string, err error) {
	args = append([]string{"-q", "--silent", "--show-error", "--max-time", strconv.Itoa(int(patience.Seconds()))}, args...)
	return runProgram(ts, "curl", args)
}

func runProgram(ts *testscript.TestScript, program string, args []string) (stdout, stderr string, err error) {
	cmd := exec.Command(program, args...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + ts.Getenv("HOME"), "TMPDIR=" + ts.Getenv("TMPDIR")}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return strings.ReplaceAll(out.String(), "\r\n", "\n"), errs.String(), err
}

func cmdCurl(ts *testscript.TestScript, neg bool, args []string) {
	stdout, stderr, err := runCurl(ts, args)
	_, _ = io.WriteString(ts.Stdout(), stdout)
	_, _ = io.WriteString(ts.Stderr(), stderr)
	switch {
	case err == nil && neg:
		ts.Fatalf("unexpected curl success")
	case err != nil && !neg:
		ts.Fatalf("curl: %v\n%s%s", err, stdout, stderr)
	}
}

func cmdEventually(ts *testscript.TestScript, args []string) error {
	re, err := regexp.Compile(`(?m)` + args[0])
	if err != nil {
		return err
	}
	var stdout string
	err = retry(context.Background(), func() (bool, string) {
		var stderr string
		var err error
		if args[1] == "curl" {
			stdout, stderr, err = runCurl(ts, args[2:])
		} else {
			stdout, stderr, err = runProgram(ts, args[1], args[2:])
		}
		return re.MatchString(stdout), fmt.Sprintf("%s%s%v", stdout, stderr, err)
	})
	_, _ = io.WriteString(ts.Stdout(), stdout)
	return err
}

func cmdUntilSize(ts *testscript.TestScript, args []string) error {
	size, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	return retry(context.Background(), func() (bool, string) {
		info, err := os.Stat(ts.MkAbs(args[0]))
		if err != nil {
			return false, err.Error()
		}
		return info.Size() >= size, strconv.FormatInt(info.Size(), 10)
	})
}

// lastField finds a field of the JSON in the last output, behind headers if
// curl -i has put them there.
func lastField(ts *testscript.TestScript, path string) (string, error) {
	out := ts.ReadFile("stdout")
	for strings.HasPrefix(out, "HTTP/") {
		var ok bool
		if _, out, ok = strings.Cut(out, "\n\n"); !ok {
			return "", fmt.Errorf("no body in:\n%s", ts.ReadFile("stdout"))
		}
	}
	d := json.NewDecoder(strings.NewReader(out))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return "", fmt.Errorf("%w in:\n%s", err, out)
	}
	for step := range strings.SplitSeq(path, ".") {
		var ok bool
		switch at := v.(type) {
		case map[string]any:
			v, ok = at[step]
		case []any:
			if step == "len" {
				v, ok = json.Number(strconv.Itoa(len(at))), true
			} else if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(at) {
				v, ok = at[i], true
			}
		}
		if !ok {
			return "", fmt.Errorf("no %s in:\n%s", path, out)
		}
	}
	if s, ok := v.(string); ok {
		return s, nil
	}
	b, err := json.Marshal(v)
	return string(b), err
}

func cmdJSONField(ts *testscript.TestScript, args []string) error {
	v, err := lastField(ts, args[0])
	ts.Setenv(args[1], v)
	return err
}

func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: json PATH VALUE; len is the length of a list")
	}
	v, err := lastField(ts, args[0])
	ts.Check(err)
	if (v == args[1]) == neg {
		ts.Fatalf("%s is %q", args[0], v)
	}
}

func cmdRandom(ts *testscript.TestScript, args []string) error {
	size, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	f, err := os.Create(ts.MkAbs(args[0]))
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.CopyN(f, rand.NewChaCha8(sha256.Sum256([]byte(args[0]))), size); err != nil {
		return err
	}
	return f.Close()
}

func cmdSame(ts *testscript.TestScript, args []string) error {
	a, err := os.ReadFile(ts.MkAbs(args[0]))
	if err != nil {
		return err
	}
	b, err := os.ReadFile(ts.MkAbs(args[1]))
	if err != nil {
		return err
	}
	if !bytes.Equal(a, b) {
		return fmt.Errorf("%s (%d bytes) and %s (%d bytes) differ", args[0], len(a), args[1], len(b))
	}
	return nil
}

func cmdDigest(ts *testscript.TestScript, args []string) error {
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	if err != nil {
		return err
	}
	sum := sha256.Sum256(b)
	text, err := json.Marshal(sum[:]) // Base64 in quotes
	ts.Setenv(args[1], strings.Trim(string(text), `"`))
	return err
}

func cmdCertificate(ts *testscript.TestScript, args []string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(crand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(ts.MkAbs(args[0]), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o644); err != nil {
		return err
	}
	return os.WriteFile(ts.MkAbs(args[1]), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600)
}

func cmdBeginGet(ts *testscript.TestScript, args []string) error {
	n, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	req, err := http.NewRequest("GET", args[0], nil)
	if err != nil {
		return err
	}
	req.Header.Set("X-Request-Id", args[3])
	conn, err := net.Dial("tcp", req.URL.Host)
	if err != nil {
		return err
	}
	s := state(ts)
	s.begun = conn
	ts.Defer(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if err := req.Write(conn); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return err
	}
	// Closing the body would read on.
	part := make([]byte, n)
	if _, err := io.ReadFull(answer.Body, part); err != nil {
		return err
	}
	return os.WriteFile(ts.MkAbs(args[1]), part, 0o644)
}

func cmdHangUp(ts *testscript.TestScript, _ []string) error {
	return state(ts).begun.Close()
}

func cmdParallelGet(ts *testscript.TestScript, args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	conns, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	want, err := os.ReadFile(ts.MkAbs(args[3]))
	if err != nil {
		return err
	}
	transport := &http.Transport{MaxConnsPerHost: conns, MaxIdleConnsPerHost: conns}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: patience}
	var wg sync.WaitGroup
	var mu sync.Mutex
	counts := make(map[string]int) // guarded by mu
	for range n {
		wg.Go(func() {
			result, full := get(client, args[2], want)
			mu.Lock()
			defer mu.Unlock()
			counts[result]++
			if full {
				counts["full"]++
			}
		})
	}
	wg.Wait()
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(ts.Stdout(), "%s: %d\n", k, counts[k])
	}
	return nil
}

// get returns the status and whether the body is want.
func get(client *http.Client, url string, want []byte) (string, bool) {
	answer, err := client.Get(url)
	if err != nil {
		return "error: " + err.Error(), false
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return "broken body: " + err.Error(), false
	}
	return strconv.Itoa(answer.StatusCode), bytes.Equal(body, want)
}
