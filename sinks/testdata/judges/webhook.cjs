// Verifies requests with the reference implementation of Standard Webhooks for
// JavaScript. Reads a JSON array of {secret, headers, body} from standard input, and
// writes one of {type} or {error} for each.
const { Webhook } = require("standardwebhooks");
const requests = JSON.parse(require("fs").readFileSync(0, "utf8"));
const verdicts = requests.map(({ secret, headers, body }) => {
  try {
    return { type: new Webhook(secret).verify(body, headers).type };
  } catch (e) {
    return { error: String(e.message) };
  }
});
console.log(JSON.stringify(verdicts));
