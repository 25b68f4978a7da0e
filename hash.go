package main

import (
	"fmt"
	"io"

	"fileshare/cli"
	"fileshare/server"
)

// hashPassword reads a password and prints its hash. On a terminal it asks
// twice, without echo; else it takes the first line.
func hashPassword(in io.Reader, out, prompt io.Writer) error {
	password, err := cli.ReadPassword(in, prompt, true)
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
