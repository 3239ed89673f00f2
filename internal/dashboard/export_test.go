package dashboard

import (
	"math"
	"regexp"
	"strconv"
	"time"
)

// Colours reads the colours that a style names.
func Colours(css string) map[string][3]float64 {
	all := make(map[string][3]float64)
	for _, m := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6});`).FindAllStringSubmatch(css, -1) {
		n, _ := strconv.ParseUint(m[2], 16, 32)
		all[m[1]] = [3]float64{float64(n >> 16), float64(n >> 8 & 255), float64(n & 255)}
	}
	return all
}

// Contrast is that of WCAG 2.2: (L1 + 0.05) / (L2 + 0.05) with the relative luminances of the lighter and the darker colour.
func Contrast(a, b [3]float64) float64 {
	l1, l2 := luminance(a), luminance(b)
	return (max(l1, l2) + 0.05) / (min(l1, l2) + 0.05)
}

func luminance(c [3]float64) float64 {
	var linear [3]float64
	for i, v := range c {
		if v /= 255; v <= 0.04045 {
			linear[i] = v / 12.92
		} else {
			linear[i] = math.Pow((v+0.055)/1.055, 2.4)
		}
	}
	return 0.2126*linear[0] + 0.7152*linear[1] + 0.0722*linear[2]
}

// Hurry makes browsers hear of changes at once.
func Hurry(d *Dashboard) { d.pace = 10 * time.Millisecond }

// Listeners is how many browsers listen.
func Listeners(d *Dashboard) int {
	d.hub.mu.Lock()
	defer d.hub.mu.Unlock()
	return len(d.hub.listeners)
}

// MostListeners bounds them.
const MostListeners = mostListeners
