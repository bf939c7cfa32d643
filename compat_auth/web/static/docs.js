// Tries requests out with what “Authorize” was given: the session of this browser is not sent along.
// Its headings go from the first level to the third, and its title stands in no landmark.
const within = (tag, attributes, ...before) => (Original, { React }) => (properties) =>
  React.createElement(tag, attributes, ...before.map((part) => part(React)), React.createElement(Original, properties));
const heading = (React) => React.createElement("h2", { key: "heading", className: "unseen" }, "Endpoints");
const accessible = () => ({
  wrapComponents: {
    InfoContainer: within("section", { "aria-label": "About" }),
    operations: within("div", null, heading),
  },
});
const place = document.getElementById("swagger");
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
