import { useMutation } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { CircleAlert, LoaderCircle } from 'lucide-react';
import { useEffect, useState, type SubmitEvent } from 'react';

import { asProblem, type Problem } from '@/api/problem';
import { Logo } from '@/app/Logo';
import { Button } from '@/ui/Button';
import { Field } from '@/ui/Field';

import { session } from './session';

/** What a refused sign-in means, in the reader's words. */
function explain(problem: Problem): { title: string; detail: string | undefined } {
  if (problem.status === 401)
    return { title: 'That did not match.', detail: 'Check the organization, the e-mail and the password.' };
  if (problem.status === 429)
    return {
      title: 'Too many tries.',
      detail: `Wait ${problem.retryAfterSeconds === undefined ? 'a moment' : `${problem.retryAfterSeconds} s`}, then try again.`,
    };
  if (problem.passing && problem.status !== 0)
    return {
      title: 'Sign-in is not available right now.',
      detail: problem.detail ?? 'Try again in a moment.',
    };
  return { title: problem.title, detail: problem.detail };
}

export function SignIn() {
  const navigate = useNavigate();
  const { back } = useSearch({ from: '/sign-in' });
  const [organization, setOrganization] = useState('demo');
  const [email, setEmail] = useState('');
  const [password, setPassword] = useState('');

  const signIn = useMutation({
    mutationFn: () => session.signIn(organization.trim(), email.trim(), password),
    onSuccess: () => navigate({ to: back ?? '/', replace: true }),
  });

  useEffect(() => {
    document.title = 'Sign in · Tendril';
  }, []);

  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    signIn.mutate();
  };

  const problem = signIn.error ? asProblem(signIn.error) : undefined;
  const words = problem && explain(problem);
  return (
    <main className="grid min-h-dvh place-items-center px-5 py-10">
      <div className="w-full max-w-88">
        <div className="mb-7 flex items-center gap-3">
          <Logo className="size-10" />
          <div>
            <h1 className="text-xl font-semibold tracking-[-0.018em]">Sign in to Tendril</h1>
            <p className="text-sm text-ink-2">Every lead, every step, as it happens.</p>
          </div>
        </div>
        <form onSubmit={submit} className="grid gap-4 rounded-card bg-surface p-5 shadow-card">
          {words && (
            <div role="alert" className="flex gap-2.5 rounded-lg bg-bad-soft px-3 py-2.5 text-sm text-bad">
              <CircleAlert aria-hidden className="mt-0.5 size-4 shrink-0" />
              <div>
                <p className="font-medium">{words.title}</p>
                {words.detail !== undefined && <p>{words.detail}</p>}
              </div>
            </div>
          )}
          <Field
            label="Organization"
            name="organization"
            autoComplete="organization"
            autoCapitalize="none"
            spellCheck={false}
            required
            value={organization}
            onChange={(event) => setOrganization(event.target.value)}
          />
          <Field
            label="E-mail"
            name="username"
            type="email"
            autoComplete="username"
            required
            value={email}
            error={problem?.fields.get('username')}
            onChange={(event) => setEmail(event.target.value)}
          />
          <Field
            label="Password"
            name="password"
            type="password"
            autoComplete="current-password"
            required
            value={password}
            error={problem?.fields.get('password')}
            onChange={(event) => setPassword(event.target.value)}
          />
          <Button type="submit" look="primary" size="lg" disabled={signIn.isPending} className="mt-1">
            {signIn.isPending && <LoaderCircle aria-hidden className="animate-spin" />}
            {signIn.isPending ? 'Signing in' : 'Sign in'}
          </Button>
        </form>
      </div>
    </main>
  );
}
