// Asks Rollcall about the token of a request (RFC 7662) and answers nginx's auth_request: 204 or 401.
// Whatever goes wrong on the way lets nobody through.

async function authenticate(r) {
    const given = /^Bearer ([A-Za-z0-9_-]{1,200})$/.exec(r.headersIn['Authorization'] || '');
    if (given === null) {
        refuse(r);
        return;
    }
    const reply = await r.subrequest('/_introspect', { method: 'POST', body: 'token=' + given[1] });
    if (reply.status !== 200) {
        r.error('Rollcall answered ' + reply.status);
        r.return(500);
        return;
    }
    const about = JSON.parse(reply.responseText);
    if (about.active !== true) {
        refuse(r);
        return;
    }
    r.headersOut['X-User-Id'] = about.sub;
    if (about.username !== undefined) {  // an API key has none
        r.headersOut['X-User-Name'] = encodeURIComponent(about.username);
    }
    r.headersOut['X-Scope'] = about.scope;
    r.return(204);
}

function refuse(r) {
    r.headersOut['WWW-Authenticate'] = 'Bearer';
    r.return(401);
}

function key() {
    return process.env.ROLLCALL_KEY;
}

export default { authenticate, key };
