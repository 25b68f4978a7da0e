package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"fileshare/server"
)

// hashPassword reads a password and prints its hash. On a terminal it asks
// twice, without echo; else it takes the first line.
func hashPassword(in io.Reader, out, prompt io.Writer) error {
	password, err := readPassword(in, prompt)
	if err != nil {
		return fmt.Errorf("reading the password: %w", err)
	}
	hash, err := server.HashPassword(password)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, hash)
	return err
}

func readPassword(in io.Reader, prompt io.Writer) (string, error) {
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		ask := func(question string) (string, error) {
			fmt.Fprint(prompt, question)
			b, err := term.ReadPassword(int(f.Fd()))
			fmt.Fprintln(prompt)
			return string(b), err
		}
		first, err := ask("Password: ")
		if err != nil {
			return "", err
		}
		second, err := ask("Again: ")
		if err == nil && first != second {
			err = errors.New("the two are not the same")
		}
		return first, err
	}
	line, err := bufio.NewReader(io.LimitReader(in, 64<<10)).ReadString('\n')
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), err
}
