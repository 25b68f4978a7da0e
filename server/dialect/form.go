package dialect

import (
	"errors"

	"fileshare/server/multipart"
	"fileshare/store"
)

// FormError is an error of reading a form: the client's fault if it is one of
// the form, else it comes from the body and knows what it is.
func FormError(err error) error {
	if err == nil {
		return nil
	}
	for fault, message := range map[error]string{
		multipart.ErrMalformed:      "the form is malformed",
		multipart.ErrTruncated:      "the form ends too early",
		multipart.ErrTooManyParts:   "the form has too many parts",
		multipart.ErrHeaderTooLarge: "the headers of a part are too large",
		multipart.ErrValueTooLarge:  "a form field is too large",
		multipart.ErrNotForm:        "the form is malformed",
	} {
		if errors.Is(err, fault) {
			return store.RefuseCause(store.Invalid, message, err)
		}
	}
	return err
}
