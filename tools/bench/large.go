package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// stuck bounds one large transfer.
const stuck = 2 * time.Minute

// transfer is a large body to be sent over a connection of its own.
type transfer struct {
	addr   string
	method string
	path   string
	header []string // lines beside Host, Content-Length and Connection
	before string   // of the body: the head of a multipart form
	after  string   // of the body: its end
	size   int64    // of the content between the two
	want   int      // status
}

// formAround turns a transfer into a multipart upload.
func (t transfer) formAround() transfer {
	const boundary = "----------------------------bench7f3a5c91d2"
	t.header = append(t.header[:len(t.header):len(t.header)], "Content-Type: multipart/form-data; boundary="+boundary)
	t.before = "--" + boundary + "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"bench.bin\"\r\nContent-Type: application/octet-stream\r\n\r\n"
	t.after = "\r\n--" + boundary + "--\r\n"
	return t
}

// send writes the transfer in pieces of 1 MiB and returns the answer's body
// and the time from connecting to the answer.
func (t transfer) send(ctx context.Context, piece []byte) ([]byte, time.Duration, error) {
	begun := time.Now()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", t.addr)
	if err != nil {
		return nil, 0, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := conn.SetDeadline(begun.Add(stuck)); err != nil {
		return nil, 0, err
	}
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: %d\r\n", t.method, t.path, t.addr, int64(len(t.before)+len(t.after))+t.size)
	head += strings.Join(append(t.header[:len(t.header):len(t.header)], "", ""), "\r\n")
	sent := t.write(conn, head+t.before, piece)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, 0, errors.Join(sent, fmt.Errorf("reading the answer: %w", err))
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, 0, fmt.Errorf("reading the answer: %w", err)
	}
	took := time.Since(begun)
	if answer.StatusCode != t.want {
		return nil, 0, fmt.Errorf("%s: status %d, expected %d: %.300s", t.method, answer.StatusCode, t.want, body)
	}
	return body, took, sent
}

func (t transfer) write(conn net.Conn, head string, piece []byte) error {
	if _, err := io.WriteString(conn, head); err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	for left := t.size; left > 0; {
		n, err := conn.Write(piece[:min(left, int64(len(piece)))])
		if err != nil {
			return fmt.Errorf("sending: %w", err)
		}
		left -= int64(n)
	}
	if _, err := io.WriteString(conn, t.after); err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	return nil
}

// receive downloads path over a connection of its own into one buffer,
// throwing everything away, and checks status and length.
func receive(ctx context.Context, addr, path string, size int64, buf []byte) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := conn.SetDeadline(time.Now().Add(stuck)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, addr); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK || answer.ContentLength != size {
		return fmt.Errorf("GET: status %d with %d bytes, expected 200 with %d", answer.StatusCode, answer.ContentLength, size)
	}
	for got := int64(0); ; {
		n, err := answer.Body.Read(buf)
		got += int64(n)
		if errors.Is(err, io.EOF) && got == size {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading after %d bytes: %w", got, err)
		}
	}
}
