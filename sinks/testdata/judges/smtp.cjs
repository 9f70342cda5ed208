// A mail server and a mail parser that are not ours (nodemailer's). Arguments: files of
// a key and a certificate, a user, a password and an access token. Writes {port}, then for each mail what
// it understood, as one JSON object on a line.
const { SMTPServer } = require("smtp-server");
const { simpleParser } = require("mailparser");
const fs = require("fs");
const [key, cert, user, password, token] = process.argv.slice(2);
const tell = (value) => console.log(JSON.stringify(value));
const server = new SMTPServer({
  key: fs.readFileSync(key),
  cert: fs.readFileSync(cert),
  authOptional: false,
  allowInsecureAuth: false,
  size: 1 << 20,
  authMethods: password ? ["PLAIN", "LOGIN"] : ["XOAUTH2"],
  onAuth: (auth, session, done) =>
    auth.username === user && (password ? auth.password === password : auth.accessToken === token)
      ? done(null, { user })
      : done(new Error("wrong login")),
  onData: (stream, session, done) =>
    simpleParser(stream)
      .then((mail) => {
        tell({
          secure: session.secure,
          envelope: {
            from: session.envelope.mailFrom.address,
            to: session.envelope.rcptTo.map((to) => to.address),
          },
          subject: mail.subject,
          from: mail.from.value,
          to: mail.to.value,
          messageId: mail.messageId,
          references: mail.references,
          date: mail.date,
          headers: [...mail.headers.keys()],
          text: mail.text,
          html: mail.html,
          attachments: mail.attachments.length,
        });
        done();
      })
      .catch(done),
});
server.listen(0, "127.0.0.1", () => tell({ port: server.server.address().port }));
