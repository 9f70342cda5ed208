// Shows messages for Teams with Microsoft's own renderer of Adaptive Cards. Reads a JSON
// array of messages from standard input, and writes for each what the renderer complains
// about, the texts it shows, and the tags and addresses in the page it makes.
const { Window } = require("happy-dom");
const window = new Window();
global.window = window;
global.document = window.document;
for (const name of Object.getOwnPropertyNames(window))
  if (/^(HTML|Node|Event|Mouse|Keyboard)/.test(name) && !(name in global)) global[name] = window[name];
const AC = require("adaptivecards/dist/adaptivecards.js");

const messages = JSON.parse(require("fs").readFileSync(0, "utf8"));
const verdicts = messages.map((message) => {
  const card = new AC.AdaptiveCard();
  const context = new AC.SerializationContext(AC.Versions.v1_4);
  card.parse(message.attachments[0].content, context);
  const complaints = [];
  for (let i = 0; i < context.eventCount; i++) complaints.push(context.getEventAt(i).message);
  for (const event of card.validateProperties().validationEvents) complaints.push(event.message);
  const page = card.render();
  return {
    complaints,
    texts: [...page.querySelectorAll(".ac-textRun")].map((run) => run.textContent),
    tags: [...new Set([...page.querySelectorAll("*")].map((element) => element.tagName.toLowerCase()))].sort(),
    links: [...Array(card.getActionCount()).keys()].map((i) => card.getActionAt(i).url),
  };
});
console.log(JSON.stringify(verdicts));
