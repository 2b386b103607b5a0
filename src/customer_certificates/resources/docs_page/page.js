SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#page",
  deepLinking: true,
  displayRequestDuration: true,
  // What a schema is by itself says little here; each operation shows the ones it uses.
  defaultModelsExpandDepth: 0,
  tryItOutEnabled: true,
  // It would send the description to validator.swagger.io.
  validatorUrl: null,
});
