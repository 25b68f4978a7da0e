package api

import _ "embed"

//go:embed openapi.yaml
var openAPI string

// OpenAPI returns the OpenAPI 3.1 description of the native API, in YAML, as
// it was written. What the daemon serves as /openapi.json is made of it.
func OpenAPI() string { return openAPI }
