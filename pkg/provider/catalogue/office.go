package catalogue

import "github.com/freshetdev/freshet/pkg/provider"

// office are suites, files, chat and meetings.
func office() []Preset {
	return []Preset{google(), microsoft(), slack(), slackUser(), zoom(), notion(), dropbox(), box(), docusign()}
}

func google() Preset {
	return Preset{
		Name: "google", Title: "Google",
		Userinfo: openID("https://openidconnect.googleapis.com/v1/userinfo"),
		Definition: provider.Definition{
			Issuer:    "https://accounts.google.com",
			AuthURL:   "https://accounts.google.com/o/oauth2/v2/auth",
			TokenURL:  "https://oauth2.googleapis.com/token",
			DeviceURL: "https://oauth2.googleapis.com/device/code",
			RevokeURL: "https://oauth2.googleapis.com/revoke",
			AuthStyle: provider.AuthPost,
			// Without these two there is no refresh token, or only with the first consent.
			Dialect:     provider.Dialect{AuthParams: map[string]string{"access_type": "offline", "prompt": "consent"}},
			Rotation:    provider.RotationNone,
			RefreshLife: provider.RefreshLife{Idle: 6 * month},
			Words:       provider.Words{Misconfigured: []string{"deleted_client"}},
		},
		Sources: []Source{
			{Requests, "https://developers.google.com/identity/protocols/oauth2/web-server"},
			{Rotation, "https://developers.google.com/identity/protocols/oauth2/web-server#offline"},
			{Lifetimes, "https://developers.google.com/identity/protocols/oauth2#expiration"},
			{Errors, "https://developers.google.com/identity/protocols/oauth2/web-server"},
			{Identity, "https://developers.google.com/identity/openid-connect/openid-connect#obtaininguserprofileinformation"},
		},
		Notes: []string{
			"Grants of a client whose consent screen is external and in testing end after 7 days.",
			"An account has 100 live refresh tokens per client; one more ends the oldest without a word.",
		},
	}
}

func microsoft() Preset {
	const at = "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/"
	return Preset{
		Name: "microsoft", Title: "Microsoft Entra ID",
		Params: []Param{{Name: "tenant", Meaning: "the tenant's id or domain, or common, organizations or consumers", Example: "contoso.onmicrosoft.com", Default: "common", Host: true}},
		Definition: provider.Definition{
			AuthURL: at + "authorize", TokenURL: at + "token", DeviceURL: at + "devicecode",
			AuthStyle:   provider.AuthPost,
			Rotation:    provider.RotationOverlap,
			RefreshLife: provider.RefreshLife{Idle: 90 * day},
			Words:       provider.Words{Rejected: []string{"interaction_required"}, Misconfigured: []string{"invalid_resource"}},
		},
		Sources: []Source{
			{Requests, "https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-auth-code-flow"},
			{Rotation, "https://learn.microsoft.com/en-us/entra/identity-platform/refresh-tokens"},
			{Lifetimes, "https://learn.microsoft.com/en-us/entra/identity-platform/refresh-tokens"},
			{Errors, "https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-auth-code-flow"},
		},
		Notes: []string{
			"Ask for the scope offline_access: without it there is no refresh token.",
			"Redirect URIs of the kind spa give refresh tokens that end after 24 hours, however often they are used: set refresh_life: {absolute: 24h}.",
			"There is no issuer in it: the one of common is no fixed text. Set issuer to https://login.microsoftonline.com/TENANT-ID/v2.0 for a tenant of your own.",
		},
	}
}

// slackRequests are what both of Slack's kinds of tokens have in common.
func slackRequests() provider.Definition {
	return provider.Definition{
		AuthURL:   "https://slack.com/oauth/v2/authorize",
		TokenURL:  "https://slack.com/api/oauth.v2.access",
		AuthStyle: provider.AuthBasic,
		Dialect:   comma(),
		Rotation:  provider.RotationStrict,
		Refresh:   provider.Refresh{DefaultLifetime: provider.Never}, // of apps without token rotation
		Words: provider.Words{
			Rejected: []string{"invalid_refresh_token"}, Misconfigured: []string{"invalid_client_id", "bad_client_secret"},
		},
	}
}

func slackPreset(name, title string, d provider.Definition, notes ...string) Preset {
	return Preset{
		Name: name, Title: title, Definition: d,
		Sources: []Source{
			{Requests, "https://docs.slack.dev/authentication/installing-with-oauth"},
			{Rotation, "https://docs.slack.dev/authentication/using-token-rotation"},
			{Lifetimes, "https://docs.slack.dev/authentication/using-token-rotation"},
			{Errors, "https://docs.slack.dev/reference/methods/oauth.v2.access"},
		},
		Undocumented: []string{"how long a refresh token lives", "whether a refresh ends the access token before it"},
		Notes: append(notes, "Tokens of apps without token rotation have no end and no refresh token; they are simply kept.",
			"Slack's auth.revoke is not RFC 7009, so there is no revoke_url."),
	}
}

func slack() Preset {
	return slackPreset("slack", "Slack (bot tokens)", slackRequests())
}

func slackUser() Preset {
	d := slackRequests()
	d.ScopeParam, d.Reply.Tokens = "user_scope", "authed_user"
	return slackPreset("slack-user", "Slack (user tokens)", d,
		"A first answer has the user's tokens in authed_user, beside those of the bot if there are any; only the user's are kept.")
}

func zoom() Preset {
	return Preset{
		Name: "zoom", Title: "Zoom",
		Definition: provider.Definition{
			AuthURL:   "https://zoom.us/oauth/authorize",
			TokenURL:  "https://zoom.us/oauth/token",
			DeviceURL: "https://zoom.us/oauth/devicecode",
			AuthStyle: provider.AuthBasic,
			Dialect:   provider.Dialect{Reply: provider.ReplyShape{Codes: []string{"reason"}}},
			Rotation:  provider.RotationStrict,
			Words:     provider.Words{Rejected: []string{"Invalid Token!"}},
		},
		Sources: []Source{
			{Requests, "https://developers.zoom.us/docs/integrations/oauth/"},
			{Rotation, "https://devsupport.zoom.us/hc/en-us/articles/360060332931-Extending-the-expiration-for-an-OAuth-access-token"},
			{Errors, "https://devsupport.zoom.us/hc/en-us/articles/360060332931-Extending-the-expiration-for-an-OAuth-access-token"},
		},
		Undocumented: []string{
			"how long a refresh token lives: Zoom's pages have said 90 days and 15 years",
			"whether a refresh ends the access token before it",
		},
		Notes: []string{"Zoom's revocation takes access tokens, not refresh tokens, so there is no revoke_url."},
	}
}

func notion() Preset {
	return Preset{
		Name: "notion", Title: "Notion",
		Definition: provider.Definition{
			AuthURL:   "https://api.notion.com/v1/oauth/authorize",
			TokenURL:  "https://api.notion.com/v1/oauth/token",
			AuthStyle: provider.AuthBasic,
			Dialect:   provider.Dialect{AuthParams: map[string]string{"owner": "user"}, TokenFormat: provider.FormatJSON},
		},
		Sources: []Source{
			{Requests, "https://developers.notion.com/reference/create-a-token"},
			{Rotation, "https://developers.notion.com/reference/refresh-a-token"},
		},
		Undocumented: []string{
			"how long an access token lives: answers do not say, and Freshet's default of 1h applies; a longer refresh.default_lifetime means fewer refreshes",
			"what becomes of the old refresh token, although each refresh brings a new one: strict is assumed",
			"how long a refresh token lives",
		},
		Notes: []string{"Notion has no scopes: people choose pages when they agree."},
	}
}

func dropbox() Preset {
	return Preset{
		Name: "dropbox", Title: "Dropbox",
		Definition: provider.Definition{
			AuthURL:   "https://www.dropbox.com/oauth2/authorize",
			TokenURL:  "https://api.dropboxapi.com/oauth2/token",
			AuthStyle: provider.AuthBasic,
			Dialect:   provider.Dialect{AuthParams: map[string]string{"token_access_type": "offline"}},
			Rotation:  provider.RotationNone,
		},
		Sources: []Source{
			{Requests, "https://dropbox.tech/developers/using-oauth-2-0-with-offline-access"},
			{Rotation, "https://dropbox.tech/developers/using-oauth-2-0-with-offline-access"},
			{Lifetimes, "https://www.dropbox.com/developers/reference/oauth-guide"},
		},
		Notes: []string{
			"Refresh tokens do not end by themselves.",
			"Dropbox's auth/token/revoke is not RFC 7009, so there is no revoke_url.",
		},
	}
}

func box() Preset {
	return Preset{
		Name: "box", Title: "Box",
		Definition: provider.Definition{
			AuthURL:     "https://account.box.com/api/oauth2/authorize",
			TokenURL:    "https://api.box.com/oauth2/token",
			RevokeURL:   "https://api.box.com/oauth2/revoke",
			AuthStyle:   provider.AuthPost,
			Rotation:    provider.RotationStrict,
			RefreshLife: provider.RefreshLife{Idle: 60 * day},
		},
		Sources: []Source{
			{Requests, "https://developer.box.com/guides/authentication/tokens/access-tokens"},
			{Rotation, "https://developer.box.com/guides/authentication/tokens/refresh"},
			{Lifetimes, "https://developer.box.com/guides/api-calls/permissions-and-errors/expiration"},
		},
		Undocumented: []string{"whether a refresh ends the access token before it"},
	}
}

func docusign() Preset {
	return Preset{
		Name: "docusign", Title: "Docusign",
		Params:   []Param{{Name: "host", Meaning: "the host of the environment's account server", Example: "account-d.docusign.com", Default: "account.docusign.com", Host: true}},
		Userinfo: Userinfo{URL: "https://{host}/oauth/userinfo"},
		Definition: provider.Definition{
			AuthURL:     "https://{host}/oauth/auth",
			TokenURL:    "https://{host}/oauth/token",
			AuthStyle:   provider.AuthBasic,
			Scopes:      []string{"signature", "extended"},
			RefreshLife: provider.RefreshLife{Idle: 30 * day},
		},
		Sources: []Source{
			{Requests, "https://developers.docusign.com/platform/auth/confidential-authcode-get-token"},
			{Lifetimes, "https://www.docusign.com/blog/developers/authorization-code-grant-refresh-tokens"},
			{Identity, "https://developers.docusign.com/platform/auth/reference/user-info/"},
		},
		Undocumented: []string{noRotation, "whether a refresh ends the access token before it"},
		Notes: []string{
			"Without the scope extended a refresh does not prolong the grant, which ends after 30 days: set refresh_life: {absolute: 30d} then.",
		},
	}
}
