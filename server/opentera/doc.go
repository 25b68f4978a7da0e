// Package opentera speaks the File Transfer Service of OpenTera, and the few
// calls of its main server that clients make around a transfer: logins,
// sessions and lists of assets. Everything is served at /api/…, as the service
// itself does, and below /file, where OpenTera's router has it.
//
// An asset is a file of the engine in a session of the engine; asset_uuid and
// session_uuid are their ids, id_asset and id_session are numbers of sequences.
// What an asset has beyond that (asset_name, asset_type, asset_datetime) is kept
// as attributes of the file.
//
// Callers are users (accounts of the daemon), participants and devices (from
// the configuration). An access_token is a signed statement that a requester
// may use an asset for half an hour. It is asked for besides the login, never
// instead of it, and gives nobody what the engine would refuse.
package opentera
