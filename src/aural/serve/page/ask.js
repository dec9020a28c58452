// Describe a sound in a sentence, and answer a question about it.

import * as api from "/static/api.js";

const YES_NO = /^(is|are|can|do|does|did|was|were|has|have)\b/i;

// "which is it? a dog, a cat" has choices; "is there a dog?" is answered by yes or no; all others in free words.
export function choicesOf(text) {
  const [question, listed = ""] = text.split(/(?<=\?)/, 2).map((part) => part.trim());
  const choices = listed.split(",").map((one) => one.trim()).filter(Boolean);
  if (choices.length) return { question, choices };
  return { question: text.trim(), choices: YES_NO.test(text.trim()) ? ["yes", "no"] : [] };
}

export function connect(form, hit) {
  const input = form.querySelector("input"), reply = form.querySelector(".reply");
  const show = async (request, text) => {
    reply.textContent = "Listening …";
    try {
      reply.textContent = text(await request());
    } catch (error) {
      reply.textContent = error.message;
    }
  };
  form.querySelector(".describe").addEventListener("click", () => show(
    () => api.caption(hit.id), (answer) => answer.kind === "picked" ? `${answer.caption} (the nearest of known sentences: ${answer.note})` : answer.caption,
  ));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!input.value.trim()) return;
    const { question, choices } = choicesOf(input.value);
    show(() => api.ask(hit.id, question, choices), ({ answer, remark, options }) => {
      const best = options.find((one) => one.answer === answer);
      const added = best ? `${Math.round(100 * best.score)}%` : remark;
      return added ? `${answer} (${added})` : answer;
    });
  });
}
