package server

import (
	"context"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"fileshare/api"
	"fileshare/server/dialect"
	"fileshare/server/multipart"
	"fileshare/server/reply"
	"fileshare/store"
)

// slack is how much of a form may be something else than the file: a form
// that is longer than a file may be is refused by its Content-Length.
const slack = 1 << 20

var (
	errNoFile    = store.Refuse(store.Invalid, "the form has no part named file")
	errMoreFiles = store.Refuse(store.Invalid, "the form has more than one file")
)

// postUpload takes a form, or the bytes of a file as they are.
func (s *server) postUpload(w http.ResponseWriter, r *http.Request) error {
	ct := r.Header.Get("Content-Type")
	if isForm(ct) {
		if err := uncoded(w, r); err != nil {
			return err
		}
		if err := s.formAlone(r); err != nil {
			return err
		}
		in := s.incoming(r)
		in.may = func(ctx context.Context, size int64) error { return s.store.MayUpload(ctx, state(r).caller, size) }
		if err := in.form(); err != nil {
			in.content.Discard()
			return err
		}
		return s.createUpload(w, r, in)
	}
	if _, resumes := drafted(r); ct == "" && r.ContentLength == 0 && !resumes {
		return errNoFile
	}
	return s.rawUpload(w, r, nil)
}

// putUpload is curl -T: the last part of the path is the name.
func (s *server) putUpload(w http.ResponseWriter, r *http.Request) error {
	name := state(r).vars["id"]
	if name == "" {
		return s.rawUpload(w, r, nil)
	}
	return s.rawUpload(w, r, &name)
}

func (s *server) rawUpload(w http.ResponseWriter, r *http.Request, name *string) error {
	if err := uncoded(w, r); err != nil {
		return err
	}
	in := s.incoming(r)
	spec, err := headerSpec(r)
	if err != nil {
		return err
	}
	in.spec = spec
	if name != nil {
		in.spec.Name = name
	} else if in.spec.Name == nil {
		in.spec.Name = new("unnamed")
		if _, params, err := mime.ParseMediaType(r.Header.Get("Content-Disposition")); err == nil && params["filename"] != "" {
			*in.spec.Name = params["filename"]
		}
	}
	if d, ok := drafted(r); ok && s.o.Tus {
		in.spec.Type = mediaType(r.Header.Get("Content-Type"))
		return s.ietfCreate(w, r, d, func(b store.Begin) (*store.Progress, error) {
			return s.store.BeginUpload(r.Context(), state(r).caller, in.spec, b)
		})
	}
	if err := s.store.MayUpload(r.Context(), state(r).caller, r.ContentLength); err != nil {
		return err
	}
	if err := in.raw(); err != nil {
		return err
	}
	return s.createUpload(w, r, in)
}

// uncoded refuses a body that is compressed on its way (RFC 9110 §8.4): it would
// be handed out compressed, without a word of that.
func uncoded(w http.ResponseWriter, r *http.Request) error {
	switch coding := strings.ToLower(r.Header.Get("Content-Encoding")); coding {
	case "gzip", "x-gzip", "deflate", "compress", "x-compress", "br", "zstd":
		w.Header().Set("Accept-Encoding", "identity") // §15.5.16
		return reply.Refuse(reply.MediaType, "a body with Content-Encoding "+coding+" is not taken: send it as it is", nil)
	}
	return nil
}

func (s *server) createUpload(w http.ResponseWriter, r *http.Request, in *incoming) error {
	f, err := s.store.CreateUpload(r.Context(), state(r).caller, in.spec, in.content)
	if err != nil {
		in.content.Discard()
		return err
	}
	o := s.file(r, f)
	return reply.Created(w, o.URL, o)
}

// incoming is a body on its way into the store, and what its client says of it.
type incoming struct {
	s       *server
	r       *http.Request
	may     func(ctx context.Context, size int64) error // refuses early
	spec    store.FileSpec
	content *store.Content // to be discarded or attached
}

func (s *server) incoming(r *http.Request) *incoming { return &incoming{s: s, r: r} }

func isForm(contentType string) bool {
	const form = "multipart/form-data"
	return len(contentType) >= len(form) && strings.EqualFold(contentType[:len(form)], form)
}

// raw receives the body as it is.
func (in *incoming) raw() (err error) {
	in.spec.Type = mediaType(in.r.Header.Get("Content-Type"))
	in.content, err = in.s.receive(in.r, state(in.r).caller)
	return err
}

// receive takes a body as it is for a content.
func (s *server) receive(r *http.Request, c store.Caller) (*store.Content, error) {
	if r.Header.Get("Content-Range") != "" {
		// RFC 9110 §14.5: a server that does not know partial PUT must not
		// take the part for the whole.
		return nil, invalid("a part of a content cannot be stored (Content-Range)")
	}
	sum, err := expectedDigest(r.Header)
	if err != nil {
		return nil, err
	}
	return s.store.Receive(r.Context(), c, r.Body, store.Incoming{Size: r.ContentLength, SHA256: sum})
}

// receivePart takes a part of a form for a content. Digests in its header are of
// it, those of the request of the whole form.
func (s *server) receivePart(r *http.Request, c store.Caller, part *multipart.Part) (*store.Content, error) {
	sum, err := expectedDigest(part.Header)
	if err != nil {
		return nil, err
	}
	content, err := s.store.Receive(r.Context(), c, part, store.Incoming{Size: -1, Most: max(r.ContentLength, 0), SHA256: sum})
	return content, dialect.FormError(err)
}

// formReader begins to read a form with a file in it; may is asked first.
func (s *server) formReader(r *http.Request, may func(ctx context.Context, size int64) error) (*multipart.Reader, error) {
	boundary, err := multipart.Boundary(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, dialect.FormError(err)
	}
	least := int64(-1)
	if r.ContentLength > slack {
		least = r.ContentLength - slack
	}
	if err := may(r.Context(), least); err != nil {
		return nil, err
	}
	return multipart.NewReader(r.Body, boundary, s.o.Limits), nil
}

// formFields are what a form may say of its file. Some clients give each of them a
// file name, too.
var formFields = []string{"ttl", "max_downloads", "name", "tags"}

// form receives a multipart form: one file, and fields before or after it.
// After an error the content may be there.
func (in *incoming) form() error {
	spec, err := headerSpec(in.r)
	if err != nil {
		return err
	}
	mr, err := in.s.formReader(in.r, in.may)
	if err != nil {
		return err
	}
	defer mr.Close()
	said := fields{form: url.Values{}}
	total := 0
	for {
		part, err := mr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return dialect.FormError(err)
		}
		if part.FormName() == "file" {
			if err := in.file(part); err != nil {
				return err
			}
			continue
		}
		name := part.FormName()
		known := slices.Contains(formFields, name)
		if part.FileName() != "" && !known { // browsers send an empty one where no file was chosen
			return in.stray()
		}
		v, err := part.Value(maxFields)
		if err != nil {
			return dialect.FormError(err)
		}
		if total += len(v); total > slack {
			return invalid("the form is too large")
		}
		if known || limitMeant(name) != "" { // the latter to be refused
			said.form.Add(name, v)
		}
	}
	if in.content == nil {
		return errNoFile
	}
	return in.merge(spec, said)
}

// file receives the part with the file.
func (in *incoming) file(part *multipart.Part) (err error) {
	if in.content != nil {
		return errMoreFiles
	}
	if name := part.FileName(); name != "" {
		in.spec.Name = &name
	}
	in.spec.Type = mediaType(part.ContentType())
	in.content, err = in.s.receivePart(in.r, state(in.r).caller, part)
	return err
}

// stray refuses a file in a part of another name: left out, it would be lost
// without a word.
func (in *incoming) stray() error {
	if in.content != nil {
		return errMoreFiles
	}
	return invalid("the form has no part named file, but a file in another part")
}

// merge combines what the part says, query and headers, and the fields: the
// last one that says something counts.
func (in *incoming) merge(spec store.FileSpec, said fields) error {
	f, err := said.fileSpec()
	if err != nil {
		return err
	}
	if name := or(f.Name, spec.Name); name != nil && *name != "" {
		if in.spec.Name != nil {
			in.spec.OriginalName = in.spec.Name
		}
		in.spec.Name = name
	}
	if in.spec.Name == nil {
		in.spec.Name = new("unnamed")
	}
	in.spec.TTL = or(f.TTL, spec.TTL)
	in.spec.MaxDownloads = or(f.MaxDownloads, spec.MaxDownloads)
	in.spec.Tags = or(f.Tags, spec.Tags)
	return nil
}

func or[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

func (s *server) listUploads(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r)
	if err != nil {
		return err
	}
	q.All = state(r).caller.Admin
	page, err := s.store.Files(r.Context(), state(r).caller, q)
	if err != nil {
		return err
	}
	return reply.JSON(w, list(page, func(f *store.File) api.File { return s.file(r, f) }))
}

func (s *server) fileInfo(w http.ResponseWriter, r *http.Request) error {
	s.tails.settle(r.Context(), state(r).ref())
	f, err := s.store.File(r.Context(), state(r).caller, state(r).ref())
	if err != nil {
		return err
	}
	return reply.JSON(w, s.file(r, f))
}

func (s *server) patchFile(w http.ResponseWriter, r *http.Request) error {
	if err := s.condition(r); err != nil {
		return err
	}
	said, err := s.readFields(r)
	if err != nil {
		return err
	}
	spec, err := said.fileSpec()
	if err != nil {
		return err
	}
	if err := said.refuseUnknown(api.File{}, "ttl", "name", "tags", "max_downloads"); err != nil {
		return err
	}
	f, err := s.store.PatchFile(r.Context(), state(r).caller, state(r).ref(), spec)
	if err != nil {
		return err
	}
	return reply.JSON(w, s.file(r, f))
}

func (s *server) deleteFile(w http.ResponseWriter, r *http.Request) error {
	if err := s.condition(r); err != nil {
		return err
	}
	if err := s.store.DeleteFile(r.Context(), state(r).caller, state(r).ref()); err != nil {
		return err
	}
	return reply.None(w)
}
