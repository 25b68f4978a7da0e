package opentera

import (
	"fileshare/store"
)

// Attributes in which the engine keeps what it has no field for.
const (
	attrName  = "opentera.name"     // asset_name, session_name
	attrType  = "opentera.type"     // asset_type, id_session_type
	attrDate  = "opentera.date"     // asset_datetime, session_start_datetime
	attrMaker = "opentera.maker"    // caller who stored a file in somebody else's session
	attrRest  = "opentera.session." // other members of a session, each as it was sent
)

// Sequences of the engine.
const (
	assets   = "opentera.asset"
	sessions = "opentera.session"
	archives = "opentera.archive"
)

// asset is what the service tells of an asset. Who made it is in one of the
// four ids, and his name in one of the four last fields.
type asset struct {
	IDAsset       int64  `json:"id_asset"`
	IDSession     int64  `json:"id_session"`
	IDUser        *int64 `json:"id_user"`
	IDParticipant *int64 `json:"id_participant"`
	IDDevice      *int64 `json:"id_device"`
	IDService     *int64 `json:"id_service"`
	Name          string `json:"asset_name"`
	UUID          string `json:"asset_uuid"`
	ServiceUUID   string `json:"asset_service_uuid"`
	Type          string `json:"asset_type"`
	Date          string `json:"asset_datetime"`
	Expires       string `json:"asset_expiration_datetime"`
	ServiceName   string `json:"asset_service_owner_name"`
	SessionName   string `json:"asset_session_name"`
	User          string `json:"asset_user,omitempty"`
	Participant   string `json:"asset_participant,omitempty"`
	Device        string `json:"asset_device,omitempty"`
	infos
	InfosURL    string `json:"asset_infos_url,omitempty"`
	URL         string `json:"asset_url,omitempty"`
	AccessToken string `json:"access_token,omitempty"`
}

// infos is what the service itself knows of a file.
type infos struct {
	ID           int64  `json:"id_asset_file_data"`
	OriginalName string `json:"asset_original_filename"`
	Size         int64  `json:"asset_file_size"`
}

// infosAnswer is the answer to /assets/infos.
type infosAnswer struct {
	infos
	UUID string `json:"asset_uuid"`
}

func infosOf(f *store.File) infosAnswer {
	return infosAnswer{infos: infos{ID: f.Number, OriginalName: f.Name, Size: f.Size}, UUID: f.ID}
}

// tokenOnly is an asset of a list with with_only_token.
type tokenOnly struct {
	UUID        string `json:"asset_uuid"`
	AccessToken string `json:"access_token"`
}

// paramErrors tells which parameters of a query are missing.
type paramErrors struct {
	Errors  map[string]string `json:"errors"`
	Message string            `json:"message"`
}
