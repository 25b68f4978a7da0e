// Package rql reads the Resource Query Language as the Extra Horizon SDK writes
// it, and asks its questions of records. It knows neither HTTP nor the engine.
//
//	query  := item { "&" item }                 all of them hold
//	item   := name "(" [ arg { "," arg } ] ")"
//	arg    := item | field | value              a value may be empty
//
// # Escapes
//
// A query is escaped twice: the whole of it once, as part of an address, and
// before that every value by itself. [Parse] takes the raw query of the
// address and undoes the first (a plus sign stays one), reads calls, commas and
// casts, and then undoes the second for each value; a value for which that
// fails was written by hand and is taken as it stands.
//
// # Types
//
// What a value is compared as is decided by the field, never by what the value
// looks like: eq(name,123) is about a text. A value that cannot be read as
// its field's type equals nothing. A cast (number:5) says how to read a time,
// and nothing otherwise.
package rql

import (
	"errors"
	"fmt"
)

// Bounds of a query. What is beyond them is a syntax error.
const (
	MaxLength = 32 << 10 // bytes, as sent
	MaxDepth  = 16       // calls within calls
	MaxArgs   = 1000     // arguments of all calls together
)

// Type is what the values of a field are.
type Type int

// Types. Texts are compared by their bytes, times by the millisecond.
const (
	Text    Type = iota + 1
	Texts        // a list of texts: a comparison holds if it does for one of them
	Number       // of which 53 bits count
	Time         // milliseconds since 1970, UTC
	Objects      // a list of records; asked for by contains and excludes
)

// Field is a field of a record under its own name.
type Field struct {
	Name string
	Type Type
}

// Schema lists the fields by the spellings under which queries may name them.
// Snake case is understood by itself. Fields of [Objects] are listed as
// "list.field", with the type they have within one object. What is not listed
// is a field that no record has.
type Schema map[string]Field

// Value is what a record has in a field: the member that the field's [Type]
// names.
type Value struct {
	Text    string
	Texts   []string
	Number  float64 // also of times
	Objects []Record
}

// Record is what is asked. Get returns false where the record does not have
// the field; name is a [Field]'s Name.
type Record interface {
	Get(name string) (Value, bool)
}

// Query is a parsed query. The zero Query asks for everything.
type Query struct {
	Sort      []Key    // most important first
	Select    []string // names of fields, nil = all
	Limit     int      // 0 = not said
	Offset    int
	SkipCount bool // the total is not wanted

	where []term // all of them hold
}

// Key is one criterion of an order.
type Key struct {
	Field
	Descending bool
}

// ErrSyntax is in every error of [Parse], whose text is for the client.
var ErrSyntax = errors.New("invalid RQL")

func syntax(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrSyntax, fmt.Sprintf(format, a...))
}
