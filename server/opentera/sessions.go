package opentera

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"fileshare/server/reply"
	"fileshare/store"
)

// session is what the main server tells of a session.
type session struct {
	ID                 int64    `json:"id_session"`
	UUID               string   `json:"session_uuid"`
	Type               int64    `json:"id_session_type"`
	Name               string   `json:"session_name"`
	Start              string   `json:"session_start_datetime"`
	Duration           int64    `json:"session_duration"`
	Status             int64    `json:"session_status"`
	Comments           *string  `json:"session_comments"`
	Parameters         *string  `json:"session_parameters"`
	Expires            string   `json:"session_expiration_datetime"`
	CreatorUser        *int64   `json:"id_creator_user"`
	CreatorParticipant *int64   `json:"id_creator_participant"`
	CreatorDevice      *int64   `json:"id_creator_device"`
	CreatorService     *int64   `json:"id_creator_service"`
	Users              []member `json:"session_users"`
	Participants       []member `json:"session_participants"`
	Devices            []member `json:"session_devices"`
}

// member is a user, participant or device of a session.
type member map[string]any

func memberOf(w who) member {
	k := string(w.kind)
	name := k + "_name"
	if w.kind == user {
		name = "user_fullname"
	}
	return member{"id_" + k: w.id, k + "_uuid": w.uuid.String(), name: w.name}
}

// sessionFields are the members of a session that are kept as they come, with
// the attribute of each. The first two are texts.
func sessionFields() [][2]string {
	return [][2]string{
		{"session_comments", attrRest + "comments"}, {"session_parameters", attrRest + "parameters"},
		{"id_session_type", attrType}, {"session_duration", attrRest + "duration"}, {"session_status", attrRest + "status"},
	}
}

func sessionName(s *store.Session) string {
	if n := s.Attrs[attrName]; n != "" {
		return n
	}
	return s.Name
}

// sessionOf is s on the wire.
func (a *api) sessionOf(s *store.Session) session {
	number := func(attr string) int64 {
		n, _ := parseNumber(s.Attrs[attr])
		return n
	}
	text := func(attr string) *string {
		if t := s.Attrs[attr]; t != "" {
			return &t
		}
		return nil
	}
	out := session{
		ID: s.Number, UUID: s.ID, Type: number(attrType), Name: sessionName(s), Start: s.Attrs[attrDate],
		Duration: number(attrRest + "duration"), Status: number(attrRest + "status"),
		Comments: text(attrRest + "comments"), Parameters: text(attrRest + "parameters"), Expires: formatDate(s.Expires),
		Users: []member{}, Participants: []member{}, Devices: []member{},
	}
	if out.Start == "" {
		out.Start = formatDate(s.Created)
	}
	if w, ok := a.named(s.Owner); ok {
		switch w.kind {
		case user:
			out.CreatorUser = &w.id
		case participant:
			out.CreatorParticipant = &w.id
		case device:
			out.CreatorDevice = &w.id
		}
	}
	for _, name := range s.Members {
		w, ok := a.named(name)
		if !ok {
			continue // is not configured any more
		}
		switch w.kind {
		case user:
			out.Users = append(out.Users, memberOf(w))
		case participant:
			out.Participants = append(out.Participants, memberOf(w))
		case device:
			out.Devices = append(out.Devices, memberOf(w))
		}
	}
	return out
}

// answer is a list of sessions, or where a device or participant has made one
// that one alone.
func (a *api) answer(w http.ResponseWriter, c who, s *store.Session) error {
	if c.kind == user {
		return reply.JSON(w, []session{a.sessionOf(s)})
	}
	return reply.JSON(w, a.sessionOf(s))
}

// postSession makes a session, or changes one whose number is given.
func (a *api) postSession(w http.ResponseWriter, r *http.Request, c who) error {
	o, id, err := readNumbered(r, "session", "id_session")
	if err != nil {
		return err
	}
	s := new(store.Session)
	if id != 0 {
		if s, err = a.session(r, c, id); err != nil {
			return err
		}
	}
	spec, err := a.sessionSpec(r, c, o, s.Members)
	if err != nil {
		return err
	}
	if id == 0 {
		spec.Sequence = sessions
		s, err = a.Store.CreateSession(r.Context(), c.Caller, spec)
	} else {
		s, err = a.Store.PatchSession(r.Context(), c.Caller, s.ID, spec)
	}
	if err != nil {
		return err
	}
	return a.answer(w, c, s)
}

// sessionSpec reads what is said of a session that has these members so far.
func (a *api) sessionSpec(r *http.Request, c who, o object, old []string) (spec store.SessionSpec, err error) {
	attrs := map[string]string{}
	spec.Attrs = &attrs
	name, named, err := o.text("session_name")
	if err != nil {
		return spec, err
	}
	if named {
		spec.Name, attrs[attrName] = &name, name
	}
	if start, _, err := o.date("session_start_datetime"); err != nil {
		return spec, err
	} else if start != "" {
		attrs[attrDate] = start
	}
	for i, f := range sessionFields() {
		value, ok := "", false
		if i < 2 {
			value, ok, err = o.text(f[0])
		} else {
			var n int64
			n, ok, err = o.number(f[0])
			value = strconv.FormatInt(n, 10)
		}
		if err != nil {
			return spec, err
		}
		if ok {
			attrs[f[1]] = value
		}
	}
	if spec.TTL, err = a.TTL(r); err != nil {
		return spec, err
	}
	spec.Members, err = a.members(c, o, old)
	return spec, err
}

// members reads who else is to use a session: by number (session_users_ids and
// so on) or by UUID (session_users and so on). Of kinds of which nothing is said
// the old ones stay.
func (a *api) members(c who, o object, old []string) (*[]string, error) {
	var names []string
	for _, k := range []kind{user, participant, device} {
		said := false
		for _, field := range []string{"session_" + string(k) + "s_ids", "session_" + string(k) + "s"} {
			if _, ok := o.member(field); ok {
				said = true
			}
			keys, err := o.texts(field)
			if err != nil {
				return nil, err
			}
			for _, key := range keys {
				w, ok := a.memberBy(c, k, key)
				if !ok {
					return nil, store.Refuse(store.Denied, "No access to "+string(k)+" "+key)
				}
				if w.Name != c.Name {
					names = append(names, w.Name)
				}
			}
		}
		for _, name := range old {
			if !said && kindOf(name) == k {
				names = append(names, name)
			}
		}
	}
	return &names, nil
}

// kindOf is the kind of a caller by the engine's name.
func kindOf(name string) kind {
	for _, k := range []kind{participant, device} {
		if strings.HasPrefix(name, k.prefix()) {
			return k
		}
	}
	return user
}

// memberBy finds a member. Accounts have no list in which to look for a number:
// besides oneself they are found by their names.
func (a *api) memberBy(c who, k kind, key string) (who, bool) {
	if n, ok := parseNumber(key); k == c.kind && (ok && n == c.id || key == c.uuid.String()) {
		return c, true
	}
	if k != user {
		return a.numbered(k, key)
	}
	acc, ok := a.Find(key)
	return a.account(acc.Caller), ok
}

// getSessions finds a session by number or UUID, else lists the caller's.
func (a *api) getSessions(w http.ResponseWriter, r *http.Request, c who) error {
	out := []session{}
	q := r.URL.Query()
	switch {
	case q.Get("id_session") != "":
		n, _ := parseNumber(q.Get("id_session"))
		s, err := a.session(r, c, n)
		if err != nil {
			return err
		}
		out = append(out, a.sessionOf(s))
	case q.Get("session_uuid") != "":
		s, err := a.Store.Session(r.Context(), c.Caller, q.Get("session_uuid"))
		if err == nil && s.Attrs[attrArchive] != "" {
			err = store.Refuse(store.NotFound, "session not found")
		}
		if err != nil {
			return inaccessible(err)
		}
		out = append(out, a.sessionOf(s))
	default:
		page, err := a.mySessions(r, c)
		if err != nil {
			return err
		}
		for _, s := range page {
			if s.Number > 0 {
				out = append(out, a.sessionOf(s))
			}
		}
	}
	return reply.JSON(w, out)
}

// mySessions are the sessions that the caller made or is a member of, the
// oldest first.
func (a *api) mySessions(r *http.Request, c who) ([]*store.Session, error) {
	page, err := a.Store.Sessions(r.Context(), c.Caller, store.Query{Limit: mostSessions})
	if err != nil {
		return nil, err
	}
	if page.Next != "" {
		return nil, invalid("Too many sessions for one list")
	}
	mine := slices.DeleteFunc(page.Items, func(s *store.Session) bool { return s.Attrs[attrArchive] != "" })
	slices.Reverse(mine)
	return mine, nil
}

// deleteSession removes a session and its assets.
func (a *api) deleteSession(w http.ResponseWriter, r *http.Request, c who) error {
	said, err := query(r, "id")
	if err != nil {
		return err
	}
	n, _ := parseNumber(said[0])
	s, err := a.session(r, c, n)
	if err != nil {
		return err
	}
	if err := a.Store.DeleteSession(r.Context(), c.Caller, s.ID); err != nil {
		return err
	}
	return reply.JSON(w, "")
}
