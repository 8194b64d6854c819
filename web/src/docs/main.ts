import 'swagger-ui-dist/swagger-ui.css';

import SwaggerUIBundle from 'swagger-ui-dist/swagger-ui-es-bundle.js';

/** The API's document, readable and ready to try. Its parts start closed: opened, only the first would be drawn. */
SwaggerUIBundle({ url: '/openapi.json', dom_id: '#api', deepLinking: true, docExpansion: 'none' });
