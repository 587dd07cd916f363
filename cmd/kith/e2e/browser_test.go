package e2e_test

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is a tab of a real Chromium, which notes what a page asks for and what goes wrong in it.
type browser struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // chromedp keeps the tab in it

	mu     sync.Mutex
	asked  []string
	faults []string
}

// startBrowser starts a Chromium of the test's own.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("the tests of pages need chromium: .ci/tools installs it")
	}
	allocator, stop := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path),
		chromedp.NoSandbox, // tests run as root in containers; the pages are our own
		chromedp.UserDataDir(t.TempDir()))...)
	t.Cleanup(stop)
	tab, quit := chromedp.NewContext(allocator)
	t.Cleanup(quit)
	b := &browser{t: t}
	if err := chromedp.Listen(tab, b.noted); err != nil {
		t.Fatal(err)
	}
	var cancel context.CancelFunc
	b.ctx, cancel = context.WithTimeout(tab, 4*patience)
	t.Cleanup(cancel)
	call(b, network.Enable, network.EnableParams{})
	call(b, log.Enable, cdp.Empty{})
	return b
}

func (b *browser) noted(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		b.asked = append(b.asked, e.Request.URL)
	case *network.EventLoadingFailed:
		b.faults = append(b.faults, "not loaded: "+e.ErrorText)
	case *log.EventEntryAdded:
		b.faults = append(b.faults, e.Entry.Text+" "+e.Entry.URL)
	case *runtime.EventExceptionThrown:
		b.faults = append(b.faults, e.ExceptionDetails.Text)
	}
}

// call gives the browser a command.
func call[P, R any](b *browser, command cdp.Command[P, R], params P) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, command, params); err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// eval returns what an expression is in the page.
func eval[T any](b *browser, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// clean checks that the page asked nobody but the server, and that nothing went wrong in it.
func (b *browser) clean(origin string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, url := range b.asked {
		if !strings.HasPrefix(url, origin+"/") {
			b.t.Errorf("the page asks for %s", url)
		}
	}
	for _, fault := range b.faults {
		b.t.Error(fault)
	}
}

func TestTheReferenceIsAPageOfTheServerItself(t *testing.T) {
	t.Parallel()
	b := startBrowser(t)
	origin := "http://" + shared.HTTP
	b.do(chromedp.Navigate(origin + "/docs"))

	calls := eval[int](b, `document.querySelectorAll("article").length`)
	if links := eval[int](b, `document.querySelectorAll("nav li a").length`); calls < 30 || links != calls {
		t.Errorf("%d calls, %d links to them", calls, links)
	}
	if lost := eval[[]string](b, `[...document.querySelectorAll("a[href^='#']")].map(a => a.hash.slice(1)).filter(id => !document.getElementById(id))`); len(lost) > 0 {
		t.Errorf("links to nothing: %v", lost)
	}
	if twice := eval[int](b, `document.querySelectorAll("[id]").length - new Set([...document.querySelectorAll("[id]")].map(e => e.id)).size`); twice != 0 {
		t.Errorf("%d ids are used twice", twice)
	}
	b.do(chromedp.Click(chromedp.CSS(`nav a[href="#trace-message"]`)))
	if top := eval[float64](b, `document.getElementById("trace-message").getBoundingClientRect().top`); top < 0 || top > 200 {
		t.Errorf("the call is at %.0f pixels after a click on its link", top)
	}
	text := eval[string](b, `document.getElementById("trace-message").closest("article").textContent`)
	for _, want := range []string{`curl -u "demo:$KEY" "$KITH/v1/apps/demo/messages/`, `"state": "acknowledged"`, "404", "viewer"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in:\n%s", want, text)
		}
	}
	b.clean(origin)
}

func TestTheReferenceIsReadableInTheDarkAndOnAPhone(t *testing.T) {
	t.Parallel()
	b := startBrowser(t)
	var grounds []string
	for _, scheme := range []string{"light", "dark"} {
		call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		b.do(chromedp.Navigate("http://" + shared.HTTP + "/docs"))
		grounds = append(grounds, eval[string](b, `getComputedStyle(document.body).backgroundColor`))
		if poor := eval[[]string](b, lowContrast); len(poor) > 0 {
			t.Errorf("%s: too little contrast: %v", scheme, poor)
		}
	}
	if grounds[0] == grounds[1] {
		t.Errorf("the ground is %s in the dark too", grounds[0])
	}
	b.do(chromedp.EmulateViewport(360, 740))
	if wide := eval[float64](b, `document.documentElement.scrollWidth`); wide > 360 {
		t.Errorf("the page is %.0f pixels wide on a phone of 360", wide)
	}
}

// lowContrast lists the texts whose contrast with their ground is below 4.5 (WCAG 2.2, 1.4.3).
var lowContrast = fmt.Sprintf(`(() => {
  const channel = v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const rgb = color => color.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
  const ground = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c } };
  const poor = new Set();
  for (const e of document.body.querySelectorAll("*")) {
    if (![...e.childNodes].some(n => n.nodeType === Node.TEXT_NODE && n.data.trim())) continue;
    const [a, b] = [light(rgb(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < %g) poor.add(e.tagName + "." + e.className);
  }
  return [...poor];
})()`, 4.5)
