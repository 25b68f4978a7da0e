package main

import (
	"fmt"
	"log/slog"
	"strings"

	"fileshare/server"
)

// leastToken is the shortest token that never ends.
const leastToken = 16

// checkOpenTera looks at the participants and devices of OpenTera's API.
func (c *Config) checkOpenTera(k *configCheck) {
	tokens := make(map[string]bool)
	check := func(list string, i int, names map[string]bool, name, token string) {
		key := fmt.Sprintf("apis.opentera.%s[%d]", list, i)
		k.want(name != "" && len(name) <= 200 && !strings.Contains(name, ":") && !hasControl(name), key+".name", name, "1 to 200 bytes without colon and control characters")
		k.want(!names[name], key+".name", name, "every name once")
		names[name] = true
		if token == "" || token == notShown {
			return
		}
		// Tokens are not repeated in messages.
		if len(token) < leastToken || hasControl(token) {
			k.problems = append(k.problems, fmt.Errorf("%s.token: at least %d characters are expected", key, leastToken))
		}
		if tokens[token] {
			k.problems = append(k.problems, fmt.Errorf("%s.token: every token once", key))
		}
		tokens[token] = true
	}
	names := make(map[string]bool)
	for i, p := range c.APIs.OpenTera.Participants {
		check("participants", i, names, p.Name, p.Token)
		key := fmt.Sprintf("apis.opentera.participants[%d]", i)
		k.want(p.Password != "" || p.Token != "", key, p.Name, "a password or a token")
		if p.Password != "" {
			if _, err := server.CheckPassword(p.Password); err != nil {
				k.problems = append(k.problems, fmt.Errorf("%s.password: %w", key, err))
			}
		}
	}
	names = make(map[string]bool)
	for i, d := range c.APIs.OpenTera.Devices {
		check("devices", i, names, d.Name, d.Token)
		k.want(d.Token != "", fmt.Sprintf("apis.opentera.devices[%d]", i), d.Name, "a token")
	}
}

// openTera is apis.opentera as the server takes it, nil if it is switched off.
// The passwords of participants are as well guarded as those of accounts.
func (c *Config) openTera(log *slog.Logger) (*server.OpenTera, error) {
	if !c.APIs.OpenTera.Enabled {
		return nil, nil
	}
	o := new(server.OpenTera)
	var users []server.User
	shown := func(token string) string { return strings.TrimPrefix(token, notShown) } // what config prints lets nobody in
	for _, p := range c.APIs.OpenTera.Participants {
		o.Participants = append(o.Participants, server.OpenTeraCaller{Name: p.Name, Token: shown(p.Token)})
		if p.Password != "" {
			users = append(users, server.User{Name: p.Name, Password: p.Password})
		}
	}
	for _, d := range c.APIs.OpenTera.Devices {
		o.Devices = append(o.Devices, server.OpenTeraCaller{Name: d.Name, Token: shown(d.Token)})
	}
	if users == nil {
		return o, nil
	}
	passwords, err := server.NewAccounts(server.AccountsOptions{
		Users: users, Failures: int(c.Limits.AuthFailures), Address: server.ClientAddress(c.trustedProxies()), Log: log,
	})
	if err != nil {
		return nil, &configError{[]error{fmt.Errorf("apis.opentera.participants: %w", err)}}
	}
	o.Passwords = passwords
	return o, nil
}
