package authserver_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
)

// deviceClient asks as the client dev does.
func deviceClient(t *testing.T, s *authserver.Server, path string, form url.Values) (int, map[string]any) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth("dev", "dev-secret")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, req)
	var body map[string]any
	_ = json.Unmarshal(w.Body.Bytes(), &body)
	return w.Code, body
}

func TestDeviceAuthorization(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{DeviceInterval: time.Hour})
	status, d := deviceClient(t, s, "/device_authorization", url.Values{})
	if status != http.StatusOK || d["interval"] != 3600.0 || d["expires_in"] != 600.0 || d["verification_uri"] != "http://example.com/device" {
		t.Fatalf("%d %v", status, d)
	}
	code, _ := d["user_code"].(string)
	ask := func() any {
		t.Helper()
		device, _ := d["device_code"].(string)
		status, body := deviceClient(t, s, "/token", url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {device}})
		if status == http.StatusOK {
			return body["token_type"]
		}
		return body["error"]
	}
	for i, want := range []any{"authorization_pending", "slow_down"} {
		if got := ask(); got != want {
			t.Errorf("question %d: %v, want %s", i+1, got, want)
		}
	}
	if !s.ApproveDevice(strings.ToLower(strings.ReplaceAll(code, "-", " ")), "alice") {
		t.Error("a code in small letters is not known")
	}
	if got := ask(); got != "slow_down" {
		t.Errorf("too early after the approval: %v", got)
	}
}

func TestDevicePage(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{})
	_, d := deviceClient(t, s, "/device_authorization", url.Values{})
	code, _ := d["user_code"].(string)
	device, _ := d["device_code"].(string)
	for _, tt := range []struct {
		form url.Values
		want int
	}{
		{url.Values{"user_code": {"BBBB-BBBB"}, "decision": {"approve"}}, http.StatusNotFound},
		{url.Values{"user_code": {code}, "decision": {"approve"}, "login_hint": {"alice"}}, http.StatusOK},
		{url.Values{"user_code": {code}, "decision": {"deny"}}, http.StatusNotFound},
	} {
		if status, _ := deviceClient(t, s, "/device", tt.form); status != tt.want {
			t.Errorf("%v: %d, want %d", tt.form, status, tt.want)
		}
	}
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {device}}
	if status, body := deviceClient(t, s, "/token", form); status != http.StatusOK || body["refresh_token"] == nil {
		t.Errorf("%d %v", status, body)
	}
	if status, body := deviceClient(t, s, "/token", form); body["error"] != "invalid_grant" {
		t.Errorf("used twice: %d %v", status, body)
	}
	page := httptest.NewRecorder()
	s.ServeHTTP(page, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/device?user_code=%22%3E%3Cb%3E", nil))
	if strings.Contains(page.Body.String(), "<b>") {
		t.Error("the page repeats what it is given")
	}
}
