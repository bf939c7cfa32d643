// A certified OpenID provider (panva's oidc-provider) with an automatic login: `login_hint` says who comes. Without one
// there is a page with a button for each user.
//   node provider.mjs MODULES FOLDER PORT ISSUER
// MODULES: where `npm ci` put the packages. FOLDER: keeps the signing keys over a restart.
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, folder, port, issuer] = process.argv.slice(2);
const { Provider } = await import(pathToFileURL(path.join(modules, 'oidc-provider', 'lib', 'index.js')).href);
const here = `http://127.0.0.1:${port}`;
const callback = 'http://127.0.0.1:1/callback'; // nobody listens: the test reads the code from the redirect
const callbacks = [callback]; // where the gateway is, is known later than this
const keysFile = path.join(folder, 'keys.json');

const ALGORITHMS = {
  RS256: ['rsa', { modulusLength: 2048 }],
  PS256: ['rsa', { modulusLength: 2048 }],
  ES256: ['ec', { namedCurve: 'P-256' }],
  EdDSA: ['ed25519', {}],
};
function newKeys() {
  return Object.entries(ALGORITHMS).map(([alg, [kind, options]]) => ({
    ...crypto.generateKeyPairSync(kind, options).privateKey.export({ format: 'jwk' }),
    kid: `${alg}-${crypto.randomBytes(4).toString('hex')}`,
    alg,
    use: 'sig',
  }));
}
function saveKeys(all) {
  fs.writeFileSync(keysFile, JSON.stringify(all), { mode: 0o600 });
  return all;
}
let keys = fs.existsSync(keysFile) ? JSON.parse(fs.readFileSync(keysFile)) : saveKeys(newKeys());

const users = {
  alice: { sub: '1001', email: 'alice@example.org', email_verified: true, hd: 'example.org', preferred_username: 'alice' },
  bob: { sub: '1002', email: 'bob@example.org', email_verified: false, hd: 'example.org', preferred_username: 'bob' },
  carol: { sub: '1003', email: 'carol@example.org', email_verified: true, preferred_username: 'carol' },
  disabled: { sub: '1004', email: 'disabled@example.org', email_verified: true, hd: 'example.org', preferred_username: 'disabled' },
  stranger: { sub: '1005', email: 'stranger@example.org', email_verified: true, hd: 'example.org', preferred_username: 'stranger' },
  newcomer: {
    sub: '1007', email: 'new.comer@example.org', email_verified: true, hd: 'example.org', preferred_username: 'newcomer',
    given_name: 'Zoë', family_name: 'Newcomer',
  },
  service: { sub: '1006', email: 'robot@project.iam.gserviceaccount.com', email_verified: true, preferred_username: 'robot' },
};
const bySub = (sub) => Object.values(users).find((user) => user.sub === sub);
const web = (id, alg) => ({
  client_id: id, client_secret: 'web-secret', redirect_uris: [callback], grant_types: ['authorization_code'], response_types: ['code'],
  id_token_signed_response_alg: alg,
});
const machine = (id) => ({
  client_id: id, client_secret: 'machine-secret', redirect_uris: [], response_types: [], grant_types: ['client_credentials'],
});
const configuration = () => ({
  jwks: { keys },
  enabledJWA: { idTokenSigningAlgValues: Object.keys(ALGORITHMS) },
  clients: [
    ...Object.keys(ALGORITHMS).map((alg) => web(`web-${alg}`, alg)), web('other', 'RS256'), machine('machine'), machine('other-machine'),
    { client_id: 'gateway', client_secret: 'gateway secret+%', redirect_uris: [], response_types: [], grant_types: [] },
    {
      client_id: 'login', client_secret: 'login secret+%', grant_types: ['authorization_code'],
      redirect_uris: callbacks, response_types: ['code'],
    },
  ],
  scopes: ['openid', 'email', 'profile'],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['preferred_username', 'hd', 'given_name', 'family_name'] },
  conformIdTokenClaims: false, // e-mail and profile in the ID token itself, as Google does
  findAccount: async (_, sub) => bySub(sub) && { accountId: sub, claims: async () => bySub(sub) },
  pkce: { required: () => true },
  ttl: { AccessToken: 600, ClientCredentials: 600, IdToken: 600, Session: 600, Interaction: 600, Grant: 600 },
  cookies: { keys: ['test'] },
  features: {
    devInteractions: { enabled: false }, clientCredentials: { enabled: true }, revocation: { enabled: true },
    introspection: { enabled: true, allowedPolicy: async (_, client) => client.clientId === 'gateway' },
    resourceIndicators: {
      enabled: true, useGrantedResource: async () => true,
      getResourceServerInfo: async (_, resource) => {
        const [, format, alg, ttl] = /^https:\/\/([a-z]+)\.(\w+)\.(\d+)\.example\.org$/.exec(resource) ?? [];
        return { scope: 'read write', audience: 'https://api.example.org', accessTokenTTL: Number(ttl), accessTokenFormat: format, jwt: { sign: { alg } } };
      },
    },
  },
  extraTokenClaims: async (_, token) => (token.accountId ? { preferred_username: bySub(token.accountId)?.preferred_username } : undefined),
  interactions: { url: (_, interaction) => `/login/${interaction.uid}` },
  loadExistingGrant: async (context) => {
    const { provider: op, client, session, params } = context.oidc;
    const grant = new op.Grant({ clientId: client.clientId, accountId: session.accountId });
    grant.addOIDCScope('openid email profile');
    for (const resource of [].concat(params.resource || [])) grant.addResourceScope(resource, 'read write');
    await grant.save();
    return grant;
  },
});
const make = () => {
  const made = new Provider(issuer, configuration());
  made.on('server_error', (_, error) => console.error(error));
  return made;
};
let op = make();
const counts = {};
http.createServer(async (request, response) => {
  const url = new URL(request.url, here);
  try {
    if (url.pathname === '/test/counts') return response.end(JSON.stringify(counts));
    if (url.pathname === '/test/rotate') {
      keys = saveKeys([...newKeys(), ...(url.searchParams.has('drop') ? [] : keys)]);
      op = make();
      return response.end();
    }
    if (url.pathname === '/test/callback') {
      callbacks.push(url.searchParams.get('uri'));
      op = make();
      return response.end();
    }
    counts[url.pathname] = (counts[url.pathname] ?? 0) + 1;
    if (url.pathname.startsWith('/login/')) {
      const { params } = await op.interactionDetails(request, response);
      const name = params.login_hint ?? url.searchParams.get('user');
      if (name === null) {
        const buttons = [...Object.keys(users), 'Cancel'].map((user) => `<button name="user" value="${user}">${user}</button>`);
        response.setHeader('Content-Type', 'text/html; charset=utf-8');
        return response.end(`<!doctype html><title>Lab</title><h1>The lab's own login</h1><form>${buttons.join(' ')}</form>`);
      }
      const result = name === 'Cancel' ? { error: 'access_denied', error_description: 'the user said no' } : { login: { accountId: users[name].sub } };
      return await op.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
    }
    return op.callback()(request, response);
  } catch (error) {
    console.error(error);
    response.statusCode = 500;
    return response.end(String(error));
  }
}).listen(Number(port), '127.0.0.1');
