/** The test host can't do what was asked; the message is for people and says what to do. */
export class TestHostError extends Error {
  override readonly name = 'TestHostError';
}
