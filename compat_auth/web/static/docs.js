// "Try it out" sends only the credential from “Authorize”, not the session of this browser.
// Swagger UI's headings skip the second level, and its title is outside of every landmark.
const within = (tag, attributes, ...before) => (Original, { React }) => (properties) =>
  React.createElement(tag, attributes, ...before.map((part) => part(React)), React.createElement(Original, properties));
const heading = (React) => React.createElement("h2", { key: "heading", className: "unseen" }, "Endpoints");
// Swagger UI's field for a body has no accessible name.
const named = (name) => (Original, { React }) => (properties) =>
  React.createElement(Original, { "aria-label": name, ...properties });
const accessible = () => ({
  wrapComponents: {
    TextArea: named("Request body"),
    // There is only one server: hide the choice.
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
// The keyboard must reach every scrollable block.
new MutationObserver(() => {
  for (const code of place.querySelectorAll("pre.microlight:not([tabindex])")) code.tabIndex = 0;
}).observe(place, { childList: true, subtree: true });
window.SwaggerUIBundle({
  domNode: place,
  url: place.dataset.document,
  presets: [window.SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  plugins: [accessible],
  // Otherwise each button contains a link.
  deepLinking: false,
  defaultModelsExpandDepth: -1,
  persistAuthorization: false,
  validatorUrl: null,
  requestInterceptor: (request) => ({ ...request, credentials: "omit" }),
});
