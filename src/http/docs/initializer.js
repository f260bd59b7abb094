SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  plugins: [
    {
      statePlugins: {
        spec: {
          wrapActions: {
            // Each path has HEAD and OPTIONS, which nobody needs to try.
            updateJsonSpec: (update) => (contract) => {
              for (const path of Object.values(contract.paths ?? {})) {
                delete path.head;
                delete path.options;
              }
              return update(contract);
            },
          },
        },
      },
    },
  ],
});
