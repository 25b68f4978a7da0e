package store

import (
	"context"
	"slices"
	"time"
)

const maxSetting = 512 << 10 // bytes

// settingID is where a setting lies among the records about the store itself.
func settingID(name string) []byte { return append([]byte("setting "), name...) }

// Setting returns a document that a dialect keeps for all of its users, and
// when it was changed; nil and the zero time if it never was. It is asked by
// the daemon itself; who may be shown it, [Store.Allow] tells.
func (s *Store) Setting(ctx context.Context, name string) (doc []byte, changed time.Time, err error) {
	err = s.view(ctx, func(tx Tx) error {
		doc, changed = nil, time.Time{}
		b, err := tx.Get(MetaRecords, settingID(name))
		if err != nil {
			return err
		}
		for x, err := range fields(b) {
			if err != nil {
				return err
			}
			switch x.n {
			case 1:
				changed = x.time()
			case 2:
				doc = slices.Clone(x.raw)
			}
		}
		return nil
	})
	return doc, changed, err
}

// PutSetting replaces a document; it needs the permission UpdateSettings.
func (s *Store) PutSetting(ctx context.Context, c Caller, name string, doc []byte) error {
	if err := s.Allow(c, UpdateSettings); err != nil {
		return err
	}
	if len(doc) > maxSetting {
		return Refuse(TooLarge, "the settings are too large")
	}
	return s.update(ctx, func(tx Tx) error {
		var e encoder
		e.time(1, s.now())
		e.bytes(2, doc)
		return tx.Put(MetaRecords, settingID(name), e, time.Time{})
	})
}
