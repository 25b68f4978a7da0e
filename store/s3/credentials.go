package s3

import (
	"errors"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// newCredentials looks for credentials where Options.CredentialsFile says.
func newCredentials(o Options) *credentials.Credentials {
	if o.CredentialsFile != "" {
		return credentials.New(required{&credentials.FileAWSCredentials{Filename: o.CredentialsFile}})
	}
	return credentials.New(required{&credentials.Chain{Providers: []credentials.Provider{
		&credentials.EnvAWS{},
		&credentials.EnvMinio{},
		&credentials.FileAWSCredentials{},
		&credentials.IAM{Client: &http.Client{Timeout: 5 * time.Second}},
	}}})
}

// required is a provider that has credentials or fails. Without it requests would
// be made without any, also when a role could not be renewed, and be denied.
type required struct{ credentials.Provider }

var errCredentials = errors.New("no credentials: there are none in the environment, a file, or a role of the machine")

// RetrieveWithCredContext implements credentials.Provider.
func (r required) RetrieveWithCredContext(c *credentials.CredContext) (credentials.Value, error) {
	v, err := r.Provider.RetrieveWithCredContext(c)
	if err == nil && v.AccessKeyID == "" {
		err = errCredentials
	}
	return v, err
}

// Retrieve implements credentials.Provider.
func (r required) Retrieve() (credentials.Value, error) { return r.RetrieveWithCredContext(nil) }
