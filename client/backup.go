package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
)

// Backup writes a backup of everything that the server has, a tar archive, for
// which the account must be an administrator's. After an error what was written is
// of no use: a backup cannot be resumed.
func (c *Client) Backup(ctx context.Context, w io.Writer) (n int64, err error) {
	answer, err := c.do(ctx, call{method: http.MethodGet, path: "/backup"})
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	if n, err = io.Copy(w, answer.Body); err != nil {
		return n, fmt.Errorf("backup after %d bytes: %w", n, err)
	}
	return n, nil
}
