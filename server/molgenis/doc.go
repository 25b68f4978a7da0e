// Package molgenis speaks the Files API of MOLGENIS, and the login that belongs
// to it, so that clients of a MOLGENIS server can use this daemon:
//
//	POST   /api/files               the body is the file, whatever its type
//	GET    /api/files/{id}          what is known of it
//	GET    /api/files/{id}?alt=media  its bytes
//	DELETE /api/files/{id}
//	POST   /api/v1/login, /api/v1/logout
//
// A trailing slash changes nothing, and /api/files/v1 is what early releases
// called /api/files. A file is a file of the engine: the id that is shown here
// is the engine's in another spelling, and every file that the caller owns has
// one.
package molgenis
