// The rows that gormsync serves. Written by gormsync.WriteTypes; do not edit.

/** A row of todos. */
export interface Todo {
  id: string;
  title: string;
  done: boolean;
  position: number;
  notes: string;
  created_at: string;
  updated_at: string;
}

/** The row of every entity. */
export interface Entities {
  todos: Todo;
}
