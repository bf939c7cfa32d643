// Tries requests out with what “Authorize” was given: the session of this browser is not sent along.
// Its headings go from the first level to the third, and its title stands in no landmark.
const within = (tag, attributes, ...before) => (Original, { React }) => (properties) =>
  React.createElement(tag, attributes, ...before.map((part) => part(React)), React.createElement(Original, properties));
const heading = (React) => React.createElement("h2", { key: "heading", className: "unseen" }, "Endpoints");
// Its field for a body has no name.
const named = (name) => (Original, { React }) => (properties) =>
  React.createElement(Original, { "aria-label": name, ...properties });
const accessible = () => ({
  wrapComponents: {
    TextArea: named("Request body"),
    // There is one server, and a choice of one is none.
    ServersContainer: () => () => null,
    InfoContainer: within("section", { "aria-label": "About" }),
    operations: within("div", null, heading),
  },
});
// Swagger UI has its dark colours under a class.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const paint = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", paint);
paint();
const place = document.getElementById("swagger");
// What scrolls is reached by the keyboard, too.
new MutationObserver(() => {
  for (const code of place.querySelectorAll("pre.microlight:not([tabindex])")) code.tabIndex = 0;
}).observe(place, { childList: true, subtree: true });
window.SwaggerUIBundle({
  domNode: place,
  url: place.dataset.document,
  presets: [window.SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  plugins: [accessible],
  // A link in each button, otherwise.
  deepLinking: false,
  defaultModelsExpandDepth: -1,
  persistAuthorization: false,
  validatorUrl: null,
  requestInterceptor: (request) => ({ ...request, credentials: "omit" }),
});
