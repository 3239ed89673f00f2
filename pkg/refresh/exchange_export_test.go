package refresh

import (
	"net/http"
	"net/url"
)

// UseProxy sends every request of e through a proxy, whatever the environment says.
func (e *HTTPExchange) UseProxy(proxy *url.URL) { e.dialer.proxy = http.ProxyURL(proxy) }
