(function () {
  let choice = null;
  try {
    choice = localStorage.getItem('tendril.theme');
  } catch {
    choice = null;
  }
  const dark =
    choice === 'dark' || (choice !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches);
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
})();
