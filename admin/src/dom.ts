type Child = Node | string | null | undefined | false

/** An element. Texts become text nodes, never markup, so what people wrote can do nothing. */
export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Readonly<Record<string, string | boolean>> = {},
  ...children: Child[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(key, '')
    else if (value !== false) made.setAttribute(key, value)
  }
  made.append(
    ...children.filter((child): child is Node | string => child !== null && child !== undefined && child !== false),
  )
  return made
}

/** The element that the page's HTML has under this id. */
export function byId<Type extends HTMLElement>(id: string, type: new () => Type): Type {
  const found = document.getElementById(id)
  if (found instanceof type) return found
  throw new Error(`The page has no ${type.name} #${id}`)
}

/** Changes the text only where it differs, so that nothing is announced or redrawn for nothing. */
export function setText(target: Element, text: string): void {
  if (target.textContent !== text) target.textContent = text
}
