// The HttpClient of the JDK as most programs use it: it offers h2c with every request to http://.
//
// Usage: java Calls.java URL USER PASSWORD. Prints one line for each call: method, path, body's name, status, version.

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.Map;

public class Calls {
    public static void main(String[] arguments) throws Exception {
        String pair = arguments[1] + ":" + arguments[2];
        String password = "Basic " + Base64.getEncoder().encodeToString(pair.getBytes("UTF-8"));
        HttpClient client = HttpClient.newBuilder().followRedirects(HttpClient.Redirect.NORMAL).build();
        Map<String, BodyPublisher> bodies = new LinkedHashMap<>();
        bodies.put("none", BodyPublishers.noBody());
        bodies.put("empty", BodyPublishers.ofString(""));
        bodies.put("text", BodyPublishers.ofString("{}"));
        bodies.put("chunked", BodyPublishers.fromPublisher(BodyPublishers.ofString("{}")));
        for (String path : new String[] {"/api/x", "/api//x", "/compat-auth/live"}) {
            for (String method : new String[] {"GET", "POST", "DELETE"}) {
                for (Map.Entry<String, BodyPublisher> body : bodies.entrySet()) {
                    // A client of its own for some calls would hide what the connection was left in.
                    HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0] + path))
                            .method(method, body.getValue())
                            .header("Authorization", password)
                            .timeout(Duration.ofSeconds(20))
                            .build();
                    HttpResponse<String> answer = client.send(request, BodyHandlers.ofString());
                    System.out.println(String.join(
                            " ", method, path, body.getKey(), "" + answer.statusCode(), "" + answer.version()));
                }
            }
        }
    }
}
