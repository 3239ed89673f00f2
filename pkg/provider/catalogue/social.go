package catalogue

import (
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
)

// social are networks, music and games.
func social() []Preset {
	return []Preset{linkedin(), tiktok(), discord(), spotify(), twitch(), x(), strava()}
}

func linkedin() Preset {
	return Preset{
		Name: "linkedin", Title: "LinkedIn (programmatic refresh tokens)",
		Userinfo: openID("https://api.linkedin.com/v2/userinfo"),
		Definition: provider.Definition{
			AuthURL:     "https://www.linkedin.com/oauth/v2/authorization",
			TokenURL:    "https://www.linkedin.com/oauth/v2/accessToken",
			AuthStyle:   provider.AuthPost,
			Dialect:     provider.Dialect{AuthParams: map[string]string{"nonce": ""}}, // its ID tokens have none
			RefreshLife: provider.RefreshLife{Absolute: 365 * day},
		},
		Sources: []Source{
			{Requests, "https://learn.microsoft.com/en-us/linkedin/shared/authentication/programmatic-refresh-tokens"},
			{Lifetimes, "https://learn.microsoft.com/en-us/linkedin/shared/authentication/programmatic-refresh-tokens"},
			{Identity, "https://learn.microsoft.com/en-us/linkedin/consumer/integrations/self-serve/sign-in-with-linkedin-v2"},
		},
		Undocumented: []string{noRotation, "whether a refresh ends the access token before it"},
		Notes:        []string{"Refresh tokens are for approved partners; without one a token ends after 60 days and a person has to agree again."},
	}
}

func tiktok() Preset {
	return Preset{
		Name: "tiktok", Title: "TikTok (Login Kit)",
		Definition: provider.Definition{
			AuthURL:   "https://www.tiktok.com/v2/auth/authorize/",
			TokenURL:  "https://open.tiktokapis.com/v2/oauth/token/",
			AuthStyle: provider.AuthPost,
			Dialect: provider.Dialect{
				ScopeSeparator: ",", ClientIDParam: "client_key", CodeChallenge: provider.ChallengeS256Hex,
			},
			RefreshLife: provider.RefreshLife{Absolute: 365 * day},
		},
		Sources: []Source{
			{Requests, "https://developers.tiktok.com/doc/oauth-user-access-token-management"},
			{Requests, "https://developers.tiktok.com/doc/login-kit-desktop/"},
			{Lifetimes, "https://developers.tiktok.com/doc/oauth-user-access-token-management"},
			{Errors, "https://developers.tiktok.com/doc/oauth-error-handling"},
		},
		Undocumented: []string{noRotation, "whether a refresh ends the access token before it"},
		Notes: []string{
			"client_id is what TikTok calls the client key.",
			"Logins through a loopback address need an app of the kind desktop.",
			"TikTok's revocation takes access tokens, so there is no revoke_url.",
		},
	}
}

func discord() Preset {
	return Preset{
		Name: "discord", Title: "Discord",
		Userinfo: Userinfo{URL: "https://discord.com/api/users/@me", Scopes: []string{"identify"}},
		Definition: provider.Definition{
			AuthURL:   "https://discord.com/oauth2/authorize",
			TokenURL:  "https://discord.com/api/oauth2/token",
			RevokeURL: "https://discord.com/api/oauth2/token/revoke",
			AuthStyle: provider.AuthBasic,
		},
		Sources: []Source{
			{Requests, "https://discord.com/developers/docs/topics/oauth2"},
			{Lifetimes, "https://discord.com/developers/docs/topics/oauth2"},
			{Identity, "https://discord.com/developers/docs/resources/user#get-current-user"},
		},
		Undocumented: []string{noRotation, "how long a refresh token lives", "whether a refresh ends the access token before it"},
		Notes:        []string{"Revoking one token of a user ends all that the application has of that user."},
	}
}

func spotify() Preset {
	return Preset{
		Name: "spotify", Title: "Spotify",
		Definition: provider.Definition{
			AuthURL:     "https://accounts.spotify.com/authorize",
			TokenURL:    "https://accounts.spotify.com/api/token",
			AuthStyle:   provider.AuthBasic,
			RefreshLife: provider.RefreshLife{Absolute: 6 * month},
		},
		Sources: []Source{
			{Requests, "https://developer.spotify.com/documentation/web-api/tutorials/code-flow"},
			{Rotation, "https://developer.spotify.com/documentation/web-api/tutorials/refreshing-tokens"},
			{Lifetimes, "https://developer.spotify.com/documentation/web-api/tutorials/refreshing-tokens"},
		},
		Undocumented: []string{
			"what becomes of the old refresh token where an answer brings a new one: strict is assumed",
			"whether a refresh ends the access token before it",
		},
		Notes: []string{"A client without a secret: auth_style: none."},
	}
}

func twitch() Preset {
	return Preset{
		Name: "twitch", Title: "Twitch",
		Userinfo: openID("https://id.twitch.tv/oauth2/userinfo"),
		Definition: provider.Definition{
			AuthURL:   "https://id.twitch.tv/oauth2/authorize",
			TokenURL:  "https://id.twitch.tv/oauth2/token",
			DeviceURL: "https://id.twitch.tv/oauth2/device",
			AuthStyle: provider.AuthPost,
			Dialect:   provider.Dialect{Reply: provider.ReplyShape{Codes: []string{"message"}}},
			Words:     provider.Words{Rejected: []string{"Invalid refresh token"}},
		},
		Sources: []Source{
			{Requests, "https://dev.twitch.tv/docs/authentication/getting-tokens-oauth/"},
			{Rotation, "https://dev.twitch.tv/docs/authentication/refresh-tokens/"},
			{Errors, "https://dev.twitch.tv/docs/authentication/refresh-tokens/"},
			{Identity, "https://dev.twitch.tv/docs/authentication/getting-tokens-oidc/"},
		},
		Undocumented: []string{
			"what becomes of the old refresh token where an answer brings a new one: strict is assumed",
			"how long a refresh token of a confidential client lives", "whether a refresh ends the access token before it",
		},
		Notes: []string{"Twitch's revocation takes access tokens, so there is no revoke_url."},
	}
}

func x() Preset {
	return Preset{
		Name: "x", Title: "X",
		Definition: provider.Definition{
			AuthURL:   "https://x.com/i/oauth2/authorize",
			TokenURL:  "https://api.x.com/2/oauth2/token",
			RevokeURL: "https://api.x.com/2/oauth2/revoke",
			AuthStyle: provider.AuthBasic,
		},
		Sources: []Source{
			{Requests, "https://docs.x.com/fundamentals/authentication/oauth-2-0/user-access-token"},
			{Lifetimes, "https://docs.x.com/fundamentals/authentication/oauth-2-0/authorization-code"},
		},
		Undocumented: []string{noRotation, "how long a refresh token lives", "whether a refresh ends the access token before it"},
		Notes: []string{
			"Ask for the scope offline.access: without it there is no refresh token.",
			"A client without a secret: auth_style: none.",
		},
	}
}

func strava() Preset {
	return Preset{
		Name: "strava", Title: "Strava",
		Definition: provider.Definition{
			AuthURL:   "https://www.strava.com/oauth/authorize",
			TokenURL:  "https://www.strava.com/oauth/token",
			AuthStyle: provider.AuthPost,
			Dialect:   comma(),
			Rotation:  provider.RotationStrict,
			// More than an hour before its end Strava answers with the token there is. One minute is for clocks.
			Refresh: provider.Refresh{EarlyRefused: provider.Duration(59 * time.Minute)},
		},
		Sources: []Source{
			{Requests, "https://developers.strava.com/docs/authentication/"},
			{Rotation, "https://developers.strava.com/docs/authentication/"},
			{Lifetimes, "https://developers.strava.com/docs/authentication/"},
		},
		Undocumented: []string{
			"how long a refresh token lives",
			"one word for a dead refresh token: answers that are not understood are tried again",
		},
	}
}
