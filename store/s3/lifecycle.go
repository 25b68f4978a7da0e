package s3

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/lifecycle"
)

// ruleName is the name of our rule in the bucket's lifecycle: one for each
// prefix.
func (b *Bucket) ruleName() string {
	return strings.TrimSpace("fileshare " + strings.TrimSuffix(b.t.Prefix, "/"))
}

// Lifecycle returns after how many days the server itself removes our objects, as
// SetLifecycle has told it; 0: it does not.
func (b *Bucket) Lifecycle(ctx context.Context) (days int, err error) {
	rules, err := b.lifecycle(ctx)
	if err != nil {
		return 0, err
	}
	for _, r := range rules.Rules {
		if r.ID == b.ruleName() && r.Status == minio.Enabled {
			days = int(r.Expiration.Days)
		}
	}
	return days, nil
}

// SetLifecycle has the server itself remove our objects when they are so many days
// old, whatever the records say; 0: no more. Rules of others stay as they are.
func (b *Bucket) SetLifecycle(ctx context.Context, days int) error {
	rules, err := b.lifecycle(ctx)
	if err != nil {
		return err
	}
	rules.Rules = slices.DeleteFunc(rules.Rules, func(r lifecycle.Rule) bool { return r.ID == b.ruleName() })
	if days > 0 {
		rules.Rules = append(rules.Rules, lifecycle.Rule{
			ID: b.ruleName(), Status: minio.Enabled, RuleFilter: lifecycle.Filter{Prefix: b.t.Prefix},
			Expiration: lifecycle.Expiration{Days: lifecycle.ExpirationDays(days)},
		})
	}
	ctx, cancel := context.WithTimeout(ctx, b.o.Timeout)
	defer cancel()
	if err := b.core.SetBucketLifecycle(ctx, b.t.Bucket, rules); err != nil {
		return fmt.Errorf("setting the lifecycle of the bucket %s: %w", b.t.Bucket, explain(err))
	}
	return nil
}

func (b *Bucket) lifecycle(ctx context.Context) (*lifecycle.Configuration, error) {
	ctx, cancel := context.WithTimeout(ctx, b.o.Timeout)
	defer cancel()
	rules, err := b.core.GetBucketLifecycle(ctx, b.t.Bucket)
	switch {
	case err == nil:
		return rules, nil
	case minio.ToErrorResponse(err).Code == "NoSuchLifecycleConfiguration":
		return lifecycle.NewConfiguration(), nil
	}
	return nil, fmt.Errorf("reading the lifecycle of the bucket %s: %w", b.t.Bucket, explain(err))
}
