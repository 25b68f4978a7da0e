package s3

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"fileshare/store"
)

var _ store.Linker = (*Bucket)(nil)

// Link implements [store.Linker] by a presigned URL.
func (b *Bucket) Link(ctx context.Context, key string, valid time.Duration, mediaType, disposition string) (string, error) {
	name, err := b.object(key)
	if err != nil {
		return "", fmt.Errorf("linking to a blob: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, b.o.Timeout) // the credentials may have to be renewed
	defer cancel()
	u, err := b.core.PresignedGetObject(ctx, b.t.Bucket, name, valid.Truncate(time.Second), url.Values{
		"response-content-type":        {mediaType},
		"response-content-disposition": {disposition},
		"response-cache-control":       {"private, no-store"},
	})
	if err != nil {
		return "", fmt.Errorf("linking to a blob: %w", explain(err))
	}
	return u.String(), nil
}
