package catalogue

import "github.com/freshetdev/freshet/pkg/provider"

// business are customers, books and shops.
func business() []Preset {
	return []Preset{salesforce(), hubspot(), quickbooks(), xero(), shopify(), zoho()}
}

func salesforce() Preset {
	const at = "https://{host}/services/oauth2/"
	return Preset{
		Name: "salesforce", Title: "Salesforce",
		Params:   []Param{{Name: "host", Meaning: "the host of your My Domain, or login.salesforce.com or test.salesforce.com", Example: "acme.my.salesforce.com", Default: "login.salesforce.com", Host: true}},
		Userinfo: openID(at + "userinfo"),
		Definition: provider.Definition{
			AuthURL: at + "authorize", TokenURL: at + "token", RevokeURL: at + "revoke",
			AuthStyle: provider.AuthPost,
			Rotation:  provider.RotationStrict,
		},
		Sources: []Source{
			{Requests, "https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_web_server_flow.htm&type=5"},
			{Rotation, "https://help.salesforce.com/s/articleView?id=005316711&language=en_US&type=1"},
			{Lifetimes, "https://developer.salesforce.com/docs/atlas.en-us.218.0.api_rest.meta/api_rest/intro_understanding_refresh_token_oauth.htm"},
			{Identity, "https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_using_userinfo_endpoint.htm&type=5"},
		},
		Undocumented: []string{
			"how long an access token lives: the org's session timeout says so, answers do not, and Freshet's default of 1h applies; set refresh.default_lifetime to what is shorter",
			"how long a refresh token lives: each app's policy says so; set refresh_life accordingly",
		},
		Notes: []string{
			"An app without refresh token rotation keeps its refresh tokens: rotation: none is true for it, and saves logins.",
			"The answer's instance_url is kept in the record's meta: it is where the API is.",
			"A user has five grants per app; one more ends the oldest.",
		},
	}
}

func hubspot() Preset {
	return Preset{
		Name: "hubspot", Title: "HubSpot",
		Definition: provider.Definition{
			AuthURL:   "https://app.hubspot.com/oauth/authorize",
			TokenURL:  "https://api.hubapi.com/oauth/v3/token",
			AuthStyle: provider.AuthPost,
			Rotation:  provider.RotationNone,
			Words:     provider.Words{Rejected: []string{"BAD_REFRESH_TOKEN"}},
		},
		Sources: []Source{
			{Requests, "https://developers.hubspot.com/docs/api-reference/auth-oauth-v3/guide"},
			{Rotation, "https://developers.hubspot.com/docs/api-reference/auth-oauth-v3/guide"},
			{Lifetimes, "https://developers.hubspot.com/docs/api-reference/auth-oauth-v3/guide"},
			{Errors, "https://integrate.hubspot.com/t/what-to-do-when-you-suddenly-get-bad-refresh-token-when-trying-to-refresh-an-access-token/5490"},
		},
		Undocumented: []string{"any end of a refresh token but the app's removal"},
	}
}

func quickbooks() Preset {
	return Preset{
		Name: "quickbooks", Title: "Intuit QuickBooks Online",
		Definition: provider.Definition{
			AuthURL:     "https://appcenter.intuit.com/connect/oauth2",
			TokenURL:    "https://oauth.platform.intuit.com/oauth2/v1/tokens/bearer",
			AuthStyle:   provider.AuthBasic,
			RefreshLife: provider.RefreshLife{Idle: 100 * day, Absolute: 5 * 365 * day},
		},
		Sources: []Source{
			{Requests, "https://developer.intuit.com/app/developer/qbo/docs/develop/authentication-and-authorization/oauth-2.0"},
			{Rotation, "https://developer.intuit.com/app/developer/qbo/docs/develop/authentication-and-authorization/faq"},
			{Lifetimes, "https://blogs.intuit.com/2025/11/12/important-changes-to-refresh-token-policy/"},
		},
		Undocumented: []string{
			"how long the refresh token before the latest one stays good: strict is assumed",
			"whether a refresh ends the access token before it",
		},
		Notes: []string{"Intuit's revocation takes JSON, not RFC 7009's form, so there is no revoke_url."},
	}
}

func xero() Preset {
	return Preset{
		Name: "xero", Title: "Xero",
		Definition: provider.Definition{
			AuthURL:       "https://login.xero.com/identity/connect/authorize",
			TokenURL:      "https://identity.xero.com/connect/token",
			RevokeURL:     "https://identity.xero.com/connect/revocation",
			AuthStyle:     provider.AuthBasic,
			Rotation:      provider.RotationGrace,
			RotationGrace: 30 * minute,
			RefreshLife:   provider.RefreshLife{Idle: 60 * day},
		},
		Sources: []Source{
			{Requests, "https://developer.xero.com/documentation/guides/oauth2/auth-flow"},
			{Rotation, "https://community.xero.com/developer/discussion/105714701/"},
			{Lifetimes, "https://developer.xero.com/documentation/guides/oauth2/auth-flow"},
		},
		Undocumented: []string{"whether a refresh ends the access token before it"},
		Notes:        []string{"Ask for the scope offline_access: without it there is no refresh token."},
	}
}

func shopify() Preset {
	const at = "https://{shop}.myshopify.com/admin/oauth/"
	return Preset{
		Name: "shopify", Title: "Shopify (expiring offline tokens)",
		Params: []Param{{Name: "shop", Meaning: "the shop's name, before .myshopify.com", Example: "acme"}},
		Definition: provider.Definition{
			AuthURL: at + "authorize", TokenURL: at + "access_token",
			AuthStyle:         provider.AuthPost,
			Dialect:           provider.Dialect{ScopeSeparator: ",", CodeParams: map[string]string{"expiring": "1"}},
			Rotation:          provider.RotationUntilUsed,
			RefreshLife:       provider.RefreshLife{Idle: 90 * day},
			RefreshEndsAccess: true,
			Refresh:           provider.Refresh{DefaultLifetime: provider.Never}, // of tokens that were asked for without expiring=1
		},
		Sources: []Source{
			{Requests, "https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens/offline-access-tokens"},
			{Rotation, "https://shopify.dev/changelog/more-resilient-refreshes-for-expiring-offline-access-tokens"},
			{Lifetimes, "https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens/offline-access-tokens"},
		},
		Notes: []string{
			"Each shop has endpoints of its own, so each shop is a provider of its own.",
			"A used refresh token stays good until its successor is used, for 30 days at most.",
		},
	}
}

func zoho() Preset {
	const at = "https://{host}/oauth/v2/"
	return Preset{
		Name: "zoho", Title: "Zoho",
		Params: []Param{{Name: "host", Meaning: "the accounts server of the data centre", Example: "accounts.zoho.eu", Default: "accounts.zoho.com", Host: true}},
		Definition: provider.Definition{
			AuthURL: at + "auth", TokenURL: at + "token", RevokeURL: at + "token/revoke",
			AuthStyle: provider.AuthPost,
			// Without these two there is no refresh token, or only with the first consent.
			Dialect:  provider.Dialect{ScopeSeparator: ",", AuthParams: map[string]string{"access_type": "offline", "prompt": "consent"}},
			Rotation: provider.RotationNone,
			Words:    provider.Words{Throttled: []string{"Access Denied"}},
		},
		Sources: []Source{
			{Requests, "https://zoho.com/writer/help/api/v1/oauth-step3.html"},
			{Rotation, "https://www.zoho.com/thrive/resources/api/oauth-step3.html"},
			{Lifetimes, "https://zoho.com/crm/developer/docs/api/v3/token-validity.html"},
			{Errors, "https://zoho.com/crm/developer/docs/api/v3/token-validity.html"},
		},
		Undocumented: []string{"one word for a dead refresh token: answers that are not understood are tried again; if you know the word, put it into words.rejected"},
		Notes: []string{
			"Refusals come with HTTP 200.",
			"A refresh token gives ten access tokens in ten minutes; a user has twenty refresh tokens per client, one more ends the oldest.",
		},
	}
}
