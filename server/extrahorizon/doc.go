// Package extrahorizon speaks the File Service of Extra Horizon, so that its
// SDK (@extrahorizon/javascript-sdk) works unmodified: files that are reached
// by tokens of an access level, a list of them asked for in RQL, settings,
// and the logins that the SDK knows (OAuth2, OAuth1).
//
//	Extra Horizon          here
//	file                   an upload
//	token                  a grant of the file: access full or read, uncounted
//	creatorId, user id     an id made of the account's name
//	access, refresh token  a login
//	permission             of the account; administrators have all
//
// A token is the first 24 digits of a hash of the file's id, a dash, and the
// id of the grant: the two parts that the original has. The file's own id is
// not in it, since that is a link of the native API.
//
// What the SDK needs is in the tests that run it; where a comment says "the
// SDK", it is about version 8.14.1.
package extrahorizon
