package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// WriteMan writes the manual page of a tree of commands, in the macros of man(7).
func WriteMan(w io.Writer, root *cobra.Command, version string) error {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"%s %s\" \"User Commands\"\n", strings.ToUpper(root.Name()), roff(root.Name()), roff(version))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(root.Name()), roff(strings.ToLower(root.Short[:1])+root.Short[1:]))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n.I command\n[\\fIoption\\fR\\|…] [\\fIargument\\fR\\|…]\n", roff(root.Name()))
	fmt.Fprintf(&b, ".SH DESCRIPTION\n%s.SH COMMANDS\n", paragraphs(root.Long))
	each(root, func(cmd *cobra.Command) {
		if cmd == root || !cmd.IsAvailableCommand() || cmd.HasAvailableSubCommands() || cmd.Name() == "help" {
			return
		}
		fmt.Fprintf(&b, ".SS \\fB%s\\fR\n", roff(strings.TrimSpace(strings.TrimPrefix(cmd.UseLine(), root.Name()+" "))))
		text := cmd.Long
		if text == "" {
			text = cmd.Short + "."
		}
		b.WriteString(paragraphs(text))
		cmd.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
			if f.Hidden || f.Name == "help" {
				return
			}
			name, use := pflag.UnquoteUsage(f)
			b.WriteString(".TP\n\\fB")
			if f.Shorthand != "" {
				b.WriteString("\\-" + f.Shorthand + "\\fR, \\fB")
			}
			b.WriteString("\\-\\-" + roff(f.Name) + "\\fR")
			if name != "" {
				b.WriteString(" \\fI" + roff(name) + "\\fR")
			}
			b.WriteString("\n" + roff(use) + "\n")
		})
		if cmd.Example != "" {
			b.WriteString(".P\n.nf\n" + roff(strings.TrimRight(cmd.Example, "\n")) + "\n.fi\n")
		}
	})
	b.WriteString(`.SH ENVIRONMENT
.TP
\fBFILESHARE_URL\fR
address of the server, instead of that of the last login
.TP
\fBFILESHARE_USER\fR, \fBFILESHARE_PASSWORD\fR
account at that server
.TP
\fBNETRC\fR
file with accounts by host, instead of ~/.netrc
.SH FILES
.TP
~/.config/fileshare/login.json
what \fBfileshare login\fR keeps
.TP
~/.config/fileshare/uploads/
uploads that \fBfileshare put \-\-resume\fR goes on with; they are forgotten after a week
.TP
\fINAME\fR.part, \fINAME\fR.part.json
a download that is not complete
.SH EXIT STATUS
0 done, 1 failed, 2 used or configured wrongly.
`)
	_, err := io.WriteString(w, b.String())
	return err
}

// paragraphs are those of a text.
func paragraphs(text string) string {
	return strings.ReplaceAll(roff(text), "\n\n", "\n.P\n") + "\n"
}

// roff escapes a text.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
