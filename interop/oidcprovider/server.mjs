// An authorization server of the npm package oidc-provider for Freshet's tests: everything in memory, on a free port of
// 127.0.0.1, with the package's own login and consent pages, which let everybody in.
//
// Standard input is one line of JSON, {issuer, clients}; the issuer may be a proxy before this server. Standard output is the
// address that it listens on. It ends when standard input does, and so with whoever started it.
import http from 'node:http';
import { createInterface } from 'node:readline';
import Provider from 'oidc-provider';

const minute = 60;
const hour = 60 * minute;

function configuration(clients) {
  return {
    clients,
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
    cookies: { keys: ['of no consequence'] },
    features: {
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (ctx, resource) => ({ scope: 'read write', audience: resource, accessTokenTTL: hour, accessTokenFormat: 'opaque' }),
      },
    },
    scopes: ['openid', 'offline_access', 'read', 'write'],
    claims: { openid: ['sub'], profile: ['preferred_username'], email: ['email', 'email_verified'] },
    findAccount: (ctx, id) => ({
      accountId: id,
      claims: async () => ({ sub: id, preferred_username: `${id}.name`, email: `${id}@example.com`, email_verified: true }),
    }),
    pkce: { required: () => true },
    rotateRefreshToken: true,
    ttl: {
      // "brief" is the client whose tokens end while a test looks on.
      AccessToken: (ctx, token, client) => (client.clientId === 'brief' ? 8 : hour),
      AuthorizationCode: minute,
      ClientCredentials: (ctx, token, client) => (client.clientId === 'brief-machine' ? 8 : hour),
      DeviceCode: 10 * minute,
      Grant: 24 * hour,
      IdToken: hour,
      Interaction: hour,
      RefreshToken: 24 * hour,
      Session: 24 * hour,
    },
  };
}

const server = http.createServer();
server.listen(0, '127.0.0.1', () => {
  const lines = createInterface({ input: process.stdin });
  lines.on('close', () => process.exit(0));
  lines.once('line', (line) => {
    const { issuer, clients } = JSON.parse(line);
    const provider = new Provider(issuer, configuration(clients));
    provider.proxy = true; // believes X-Forwarded-Proto and -Host
    provider.on('server_error', (ctx, err) => console.error(err));
    server.on('request', provider.callback());
    console.log(`http://127.0.0.1:${server.address().port}`);
  });
});
