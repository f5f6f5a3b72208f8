// Runs before the first paint, so that the page never flashes in the wrong colours or language.
// It is a file and not an inline script because the Content-Security-Policy allows no inline scripts.
(function () {
  var saved = {};
  try {
    saved = JSON.parse(localStorage.getItem("maloca.settings")) || {};
  } catch {
    // Storage may be blocked or damaged; the defaults below then hold.
  }
  var dark = saved.theme === "dark";
  if (saved.theme !== "dark" && saved.theme !== "light") {
    dark = matchMedia("(prefers-color-scheme: dark)").matches;
  }
  var locale = saved.locale;
  if (locale !== "es" && locale !== "en") {
    locale = "en";
    var wanted = navigator.languages || [navigator.language];
    for (var i = 0; i < wanted.length; i++) {
      var language = String(wanted[i]).slice(0, 2).toLowerCase();
      if (language === "es" || language === "en") {
        locale = language;
        break;
      }
    }
  }
  var root = document.documentElement;
  root.dataset.theme = dark ? "dark" : "light";
  root.lang = locale;
})();
