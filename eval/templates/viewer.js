const dialog = document.getElementById("sheet");
for (const button of document.querySelectorAll("button[data-sheet]")) {
  button.addEventListener("click", () => { dialog.querySelector("img").src = button.dataset.sheet || button.querySelector("img").src; dialog.showModal(); });
  const video = button.querySelector("video");
  if (!video) continue;
  const start = () => { video.play(); button.classList.add("turns"); };
  const stop = () => { video.pause(); button.classList.remove("turns"); };
  for (const name of ["pointerenter", "focus"]) button.addEventListener(name, start);
  for (const name of ["pointerleave", "blur"]) button.addEventListener(name, stop);
}
dialog.addEventListener("click", () => dialog.close());
