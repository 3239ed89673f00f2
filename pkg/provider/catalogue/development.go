package catalogue

import "github.com/freshetdev/freshet/pkg/provider"

// development are code and tickets.
func development() []Preset {
	return []Preset{github(), gitlab(), atlassian(), linear()}
}

func github() Preset {
	return Preset{
		Name: "github", Title: "GitHub Apps (user access tokens)",
		Params:   []Param{{Name: "host", Meaning: "the host of a GitHub Enterprise Server", Example: "github.example.com", Default: "github.com", Host: true}},
		Userinfo: Userinfo{URL: "https://api.github.com/user", NoParam: true},
		Definition: provider.Definition{
			AuthURL:           "https://{host}/login/oauth/authorize",
			TokenURL:          "https://{host}/login/oauth/access_token",
			DeviceURL:         "https://{host}/login/device/code",
			AuthStyle:         provider.AuthPost,
			Rotation:          provider.RotationStrict,
			RefreshLife:       provider.RefreshLife{Idle: 6 * month},
			RefreshEndsAccess: true,
			Refresh:           provider.Refresh{DefaultLifetime: provider.Never}, // of apps that opted out of expiry
			Words: provider.Words{
				Rejected:      []string{"bad_refresh_token"},
				Misconfigured: []string{"incorrect_client_credentials", "redirect_uri_mismatch"},
			},
		},
		Sources: []Source{
			{Requests, "https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-user-access-token-for-a-github-app"},
			{Rotation, "https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/refreshing-user-access-tokens"},
			{Lifetimes, "https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/refreshing-user-access-tokens"},
			{Errors, "https://docs.github.com/en/apps/oauth-apps/maintaining-oauth-apps/troubleshooting-oauth-app-access-token-request-errors"},
			{Identity, "https://docs.github.com/en/rest/users/users#get-the-authenticated-user"},
		},
		Notes: []string{
			"GitHub refuses with HTTP 200 and an error in the body.",
			"Tokens of apps without user-to-server token expiration have no end and no refresh token; they are simply kept.",
			"GitHub's revocation is not RFC 7009, so there is no revoke_url.",
		},
	}
}

func gitlab() Preset {
	return Preset{
		Name: "gitlab", Title: "GitLab",
		Params:   []Param{{Name: "host", Meaning: "the host of your GitLab", Example: "gitlab.example.com", Default: "gitlab.com", Host: true}},
		Userinfo: openID("https://{host}/oauth/userinfo"),
		Definition: provider.Definition{
			AuthURL:           "https://{host}/oauth/authorize",
			TokenURL:          "https://{host}/oauth/token",
			DeviceURL:         "https://{host}/oauth/authorize_device",
			RevokeURL:         "https://{host}/oauth/revoke",
			AuthStyle:         provider.AuthPost,
			Rotation:          provider.RotationStrict,
			RefreshEndsAccess: true,
		},
		Sources: []Source{
			{Requests, "https://docs.gitlab.com/api/oauth2/"},
			{Rotation, "https://docs.gitlab.com/api/oauth2/"},
			{Identity, "https://docs.gitlab.com/integration/openid_connect_provider/"},
		},
		Undocumented: []string{"how long a refresh token lives"},
		Notes:        []string{"GitLab's examples send redirect_uri with a refresh as well. RFC 6749 section 6 has none there, and Freshet sends none."},
	}
}

func atlassian() Preset {
	return Preset{
		Name: "atlassian", Title: "Atlassian (Jira, Confluence; OAuth 2.0 3LO)",
		Definition: provider.Definition{
			AuthURL:   "https://auth.atlassian.com/authorize",
			TokenURL:  "https://auth.atlassian.com/oauth/token",
			AuthStyle: provider.AuthPost,
			Dialect: provider.Dialect{
				AuthParams:  map[string]string{"audience": "api.atlassian.com", "prompt": "consent"},
				TokenFormat: provider.FormatJSON,
			},
			Rotation:          provider.RotationGrace,
			RotationGrace:     10 * minute,
			RefreshLife:       provider.RefreshLife{Idle: 90 * day, Absolute: 365 * day},
			RefreshEndsAccess: true,
		},
		Sources: []Source{
			{Requests, "https://developer.atlassian.com/cloud/jira/platform/oauth-2-3lo-apps/"},
			{Rotation, "https://community.developer.atlassian.com/t/superseded-31-january-2022-action-required-deprecating-persistent-refresh-tokens/50348/60"},
			{Lifetimes, "https://community.developer.atlassian.com/t/refresh-token-expire-after-36000-seconds/60806/2"},
			{Errors, "https://developer.atlassian.com/cloud/oauth/getting-started/refresh-tokens/"},
		},
		Notes: []string{
			"Ask for the scope offline_access: without it there is no refresh token.",
			"The access token before a refresh ends with the refresh token it came with, ten minutes later.",
			"Refusals come with HTTP 403.",
		},
	}
}

func linear() Preset {
	return Preset{
		Name: "linear", Title: "Linear",
		Definition: provider.Definition{
			AuthURL:   "https://linear.app/oauth/authorize",
			TokenURL:  "https://api.linear.app/oauth/token",
			AuthStyle: provider.AuthPost,
			Dialect:   comma(),
		},
		Sources: []Source{
			{Requests, "https://linear.app/developers/oauth-2-0-authentication"},
			{Lifetimes, "https://linear.app/developers/oauth-2-0-authentication"},
		},
		Undocumented: []string{noRotation, "how long a refresh token lives", "whether a refresh ends the access token before it"},
		Notes:        []string{"auth_params: {actor: app} makes the application itself the author of what it writes."},
	}
}
